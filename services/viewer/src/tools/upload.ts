import { acceptUpload, outcome, sendUpload, showQuality, takeBack } from "../uploads";
import type { Catalog } from "../api";
import type { Checked, FileNote } from "../generated";
import { element } from "../dom";
import { local, text } from "../i18n";
import { plainly } from "../results";
import { state } from "../state";
import type { Tool } from "./tool";

/** Bring your own data: drop a file, see what the checks say, accept it or not, take it back. */
export const upload: Tool = { id: "upload", title: { zh: "上传数据", en: "Add data" }, panel: { mount } };

const missing = (checked: Checked | null): boolean => checked?.report.files.some((f) => f.setting) ?? false;

function mount(slot: HTMLElement, catalog: Catalog): void {
  let file: File | null = null;
  let checked: Checked | null = null;
  let load: number | null = null;
  let job = "";
  let said = "";
  let fault = "";
  let busy = false;
  const options: Record<string, string> = { layer: "", crs: "", vertical_datum: "", encoding: "", date: "", anchor: "" };

  const show = () => {
    if (state.tool.value !== "upload") return;
    slot.replaceChildren(
      element("h1", {}, local(upload.title)),
      element("p", { className: "soft" }, text("uploadHint")),
      keyField(),
      dropZone(),
      element("details", { open: fault !== "" || missing(checked) }, element("summary", {}, text("details")), ...optionFields()),
      ...(checked ? reportOf(checked.report.files) : []),
      element("p", { id: "upload-said", className: fault ? "fault" : "soft" }, fault || said),
      buttons(),
    );
  };

  const keyField = () => {
    const input = element("input", { id: "upload-key", type: "password", value: state.key.value, autocomplete: "off" });
    input.oninput = () => (state.key.value = input.value.trim());
    return element("label", {}, text("key"), input);
  };

  const dropZone = () => {
    const input = element("input", { type: "file", id: "upload-file", ariaLabel: text("chooseFile") });
    input.onchange = () => take(input.files?.[0]);
    const zone = element("div", { className: "drop" }, input, element("span", {}, file ? file.name : ""));
    zone.ondragover = (event) => {
      event.preventDefault();
      zone.classList.add("over");
    };
    zone.ondragleave = () => zone.classList.remove("over");
    zone.ondrop = (event) => {
      event.preventDefault();
      take(event.dataTransfer?.files[0]);
    };
    return zone;
  };

  const optionFields = () => {
    const layer = element("select", { id: "upload-layer" }, element("option", { value: "" }, text("byFile")));
    for (const l of catalog.layers.filter((c) => c.takesRecords))
      layer.append(element("option", { value: l.id, selected: options.layer === l.id }, local(l.title)));
    layer.onchange = () => (options.layer = layer.value);
    const field = (name: string, title: Parameters<typeof text>[0], hint: string, type = "text") => {
      const input = element("input", { id: `upload-${name}`, type, value: options[name] ?? "", placeholder: hint });
      input.onchange = () => (options[name] = input.value.trim());
      return element("label", {}, text(title), input);
    };
    return [
      element("label", {}, text("target"), layer),
      field("crs", "crs", `EPSG:${catalog.city.srid}`),
      field("vertical_datum", "datum", "city"),
      field("encoding", "encoding", "GBK"),
      field("anchor", "anchor", amid(catalog)),
      field("date", "day", "", "date"),
    ];
  };

  const take = (chosen: File | undefined) => {
    if (!chosen) return;
    [file, checked, load, said, fault] = [chosen, null, null, "", ""];
    show();
  };

  const buttons = () => {
    const row = element("div", { className: "buttons" });
    const add = (id: string, title: Parameters<typeof text>[0], work: () => Promise<void>, primary = false) => {
      const button = element("button", { id, type: "button", className: primary ? "primary" : "", disabled: busy }, text(title));
      button.onclick = () => void doing(work);
      row.append(button);
    };
    if (load !== null) add("upload-back", "takeBack", back);
    else if (checked?.acceptable) {
      add("upload-accept", "accept", accept, true);
      add("upload-reject", "reject", reject);
    } else if (file) add("upload-check", "check", check, true);
    if (job && (checked || load !== null)) add("upload-quality", "quality", () => showQuality(job));
    return row;
  };

  const doing = async (work: () => Promise<void>) => {
    busy = true;
    fault = "";
    try {
      await work();
    } catch (error) {
      fault = error instanceof Error ? error.message : String(error);
    }
    busy = false;
    show();
  };

  const check = async () => {
    if (!file) return;
    said = text("checking");
    show();
    job = await sendUpload(file, options);
    checked = await outcome<Checked>(job);
    said = "";
    state.result.value = checked.preview.length ? plainly(checked.preview) : null;
  };

  const accept = async () => {
    if (!checked) return;
    said = text("loading");
    show();
    job = await acceptUpload(checked.upload, options);
    load = (await outcome<Checked>(job)).report.load;
    said = `${text("loaded")} ${load}`;
    checked = null;
    state.result.value = null;
  };

  const reject = () => {
    [file, checked, said] = [null, null, ""];
    state.result.value = null;
    return Promise.resolve();
  };

  const back = async () => {
    if (load === null) return;
    await outcome(await takeBack(load));
    said = `${text("takenBack")} ${load}`;
    [load, file] = [null, null];
  };

  state.tool.subscribe((open) => {
    if (open !== "upload" && checked) state.result.value = null;
    show();
  });
  state.language.subscribe(show);
}

/** The fields of the form, by the setting that each gives. */
const FIELDS = { layer: "target", crs: "crs", vertical_datum: "datum", encoding: "encoding", anchor: "anchor", date: "day" } as const;

/** How a person at this form gives what an error misses: a label that leads to its field. */
function howToGive(setting: string | null | undefined): HTMLElement[] {
  if (!setting || !(setting in FIELDS)) return [];
  const title = text(FIELDS[setting as keyof typeof FIELDS]);
  return [element("label", { htmlFor: `upload-${setting}`, className: "link" }, ` → ${text("details")}: ${title}`)];
}

function reportOf(files: FileNote[]): HTMLElement[] {
  const table = element("table", { id: "upload-report" });
  const heads = ["", text("target"), text("read"), text("fresh"), text("updated"), text("same"), text("refused")];
  table.append(element("tr", {}, ...heads.map((h) => element("th", {}, h))));
  const notes = element("ul", { className: "soft" });
  for (const f of files) {
    const cells = [f.path.split("/").pop() ?? "", f.layers.join(", "), f.read, f.loaded, f.updated, f.unchanged, f.refused];
    table.append(element("tr", {}, ...cells.map((c) => element("td", {}, String(c)))));
    for (const warning of [
      ...f.warnings.map((w) => `${w.count} × ${w.warning}`),
      ...Object.entries(f.reasons).map(([why, n]) => `${n} × ${why}`),
    ]) notes.append(element("li", {}, warning));
    if (f.error) notes.append(element("li", { className: "fault" }, f.error, ...howToGive(f.setting)));
  }
  return [table, notes];
}

/** A place amid the city, in the way in which an anchor is written. */
function amid({ box: [west, south, east, north], groundHeightM }: Catalog): string {
  return [((west + east) / 2).toFixed(2), ((south + north) / 2).toFixed(2), Math.round(groundHeightM)].join(",");
}
