import { element } from "../dom";
import { local, text } from "../i18n";
import { sceneAddress } from "../scene-url";
import { state } from "../state";
import type { Tool } from "./tool";

/** The address of the scene as it stands, for a colleague or a report. */
export const share: Tool = {
  id: "share",
  title: { zh: "分享", en: "Share" },
  panel: {
    mount: (slot, _, widget) => {
      const show = () => {
        if (state.tool.value !== "share") return;
        const address = element("input", { id: "share-address", readOnly: true, value: sceneAddress(widget), ariaLabel: local(share.title) });
        const copy = element("button", { className: "primary", type: "button" }, text("copy"));
        copy.onclick = () => {
          address.select();
          // the clipboard of a page that isn't served by TLS takes only the old command
          void navigator.clipboard?.writeText(address.value).catch(() => undefined);
          document.execCommand("copy");
          copy.textContent = text("copied");
        };
        slot.replaceChildren(element("h1", {}, local(share.title)), element("p", { className: "soft" }, text("shareHint")), address, element("div", { className: "buttons" }, copy));
      };
      state.tool.subscribe(show);
      state.language.subscribe(show);
    },
  },
};
