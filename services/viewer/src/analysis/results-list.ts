import { shownTime } from "../clock";
import { element } from "../dom";
import type { Job } from "../generated";
import { text, type TextKey } from "../i18n";
import { state } from "../state";

/** What a planner does with a result of the list. */
export type Actions = { open(job: Job): void; share(job: Job, shared: boolean): void; remove(job: Job): void };

const STANDS: Record<Job["status"], TextKey | null> = {
  accepted: "waiting",
  running: "running",
  successful: null, // it can be opened
  failed: "failed",
  dismissed: null, // it isn't listed
};

/** Which result the map shows, by whose clock times are told, and what a person calls a value such as a layer's id. */
export type Shown = { opened: string | null; timeZone: string; called: (value: unknown) => string };

/** The results that the asker may see, the newest first. */
export function resultsList(jobs: Job[], shown: Shown, actions: Actions): HTMLElement {
  const rows = jobs.filter((job) => job.status !== "dismissed").map((job) => row(job, shown, actions));
  if (!rows.length) return element("p", { className: "soft" }, text("noResults"));
  return element("ul", { className: "results" }, ...rows);
}

function row(job: Job, { opened, timeZone, called }: Shown, actions: Actions): HTMLElement {
  const inputs = inputsOf(job, called);
  const open = element("button", { type: "button", className: "open", title: inputs, disabled: job.status !== "successful" });
  open.append(element("b", {}, job.title ?? job.processID), element("small", {}, [startOf(job, timeZone), inputs].filter(Boolean).join(" · ")));
  open.setAttribute("aria-current", String(job.jobID === opened));
  open.onclick = () => actions.open(job);
  const stands = STANDS[job.status];
  const notes = [stands ? text(stands) : "", job.shared ? text("shared") : ""].filter(Boolean).join(" · ");
  const made = element("li", {}, open, element("small", { className: "soft" }, notes));
  made.dataset.job = job.jobID;
  if (job.mayChange) made.append(...(job.status === "successful" ? [shareButton(job, actions)] : []), removeButton(job, actions));
  return made;
}

function shareButton(job: Job, actions: Actions): HTMLElement {
  const button = element("button", { type: "button", className: "share" }, text(job.shared ? "unshare" : "shareResult"));
  button.setAttribute("aria-pressed", String(job.shared));
  button.onclick = () => actions.share(job, !job.shared);
  return button;
}

/** It is asked once more before a result is gone. */
function removeButton(job: Job, actions: Actions): HTMLElement {
  const button = element("button", { type: "button", className: "remove" }, text("remove"));
  button.onclick = () => {
    button.textContent = text("removeReally");
    button.classList.add("primary");
    button.onclick = () => actions.remove(job);
  };
  return button;
}

const startOf = (job: Job, timeZone: string): string =>
  job.created ? shownTime(Date.parse(job.created), timeZone, state.language.value) : "";

/** What was asked for, so that two results of one analysis are told apart. */
const inputsOf = (job: Job, called: Shown["called"]): string =>
  Object.values(job.inputs ?? {}).map(called).filter(Boolean).join(", ");
