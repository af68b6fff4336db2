import { ask, send } from "./ask";
import type { Checked, Queued, Undone, UploadJob } from "./generated";

const query = (options: Record<string, string>) => new URLSearchParams(Object.entries(options).filter(([, v]) => v)).toString();

export const sendUpload = async (file: File, options: Record<string, string>): Promise<string> =>
  (await ask<Queued>(`viewer/uploads?${query({ ...options, name: file.name })}`, { method: "POST", body: file })).job;
export const acceptUpload = async (upload: string, options: Record<string, string>): Promise<string> =>
  (await ask<Queued>(`viewer/uploads/${upload}/accept?${query(options)}`, { method: "POST" })).job;
export const takeBack = async (load: number): Promise<string> =>
  (await ask<Queued>(`viewer/loads/${load}/undo`, { method: "POST" })).job;

/** Opens the quality report of a job of ours in a page of its own; the key goes along, which a link can't do. */
export async function showQuality(job: string): Promise<void> {
  const answer = await send(`viewer/uploads/jobs/${job}/quality`);
  window.open(URL.createObjectURL(await answer.blob()), "_blank");
}

const POLL_MS = 200;

/** Waits for a job of ours and gives its result. */
export async function outcome<T extends Checked | Undone>(job: string): Promise<T> {
  for (;;) {
    const now = await ask<UploadJob>(`viewer/uploads/jobs/${job}`);
    if (now.status === "successful") return now.result as T; // a job of checks or loading gives Checked, one of undoing Undone
    if (now.status === "failed" || now.status === "dismissed") throw new Error(now.message);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
