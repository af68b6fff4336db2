/** Says how many benches the city has. */
export default function tool({ element, local, state }) {
  const title = { zh: "长椅", en: "Benches" };
  return {
    id: "bench-count",
    title,
    panel: {
      mount: (slot, catalog) => {
        const show = () => {
          if (state.tool.value !== "bench-count") return;
          const count = catalog.layers.find((layer) => layer.role === "benches")?.count ?? 0;
          const sentence = { zh: `全市有 ${count} 张长椅`, en: `${count} benches in the city` };
          slot.replaceChildren(element("h1", {}, local(title)), element("p", {}, local(sentence)));
        };
        state.tool.subscribe(show);
        state.language.subscribe(show);
      },
    },
  };
}
