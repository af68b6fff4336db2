import type { Checked, Fault, Queued, Undone, UploadJob } from "./generated";
import { state } from "./state";

const inLanguage = (path: string) => `${path}${path.includes("?") ? "&" : "?"}lang=${state.language.value}`;

async function ask<T>(path: string, key: string, init: RequestInit = {}): Promise<T> {
  const answer = await fetch(inLanguage(path), { ...init, headers: { ...init.headers, ...(key ? { "X-API-Key": key } : {}) } });
  if (!answer.ok) throw new Error(((await answer.json()) as Fault).title);
  return (await answer.json()) as T;
}

const query = (options: Record<string, string>) => new URLSearchParams(Object.entries(options).filter(([, v]) => v)).toString();

export const sendUpload = async (file: File, options: Record<string, string>, key: string): Promise<string> =>
  (await ask<Queued>(`viewer/uploads?${query({ ...options, name: file.name })}`, key, { method: "POST", body: file })).job;
export const acceptUpload = async (upload: string, options: Record<string, string>, key: string): Promise<string> =>
  (await ask<Queued>(`viewer/uploads/${upload}/accept?${query(options)}`, key, { method: "POST" })).job;
export const takeBack = async (load: number, key: string): Promise<string> =>
  (await ask<Queued>(`viewer/loads/${load}/undo`, key, { method: "POST" })).job;

/** Opens the quality report of a job of ours in a page of its own; the key goes along, which a link can't do. */
export async function showQuality(job: string, key: string): Promise<void> {
  const answer = await fetch(inLanguage(`viewer/uploads/jobs/${job}/quality`), { headers: key ? { "X-API-Key": key } : {} });
  if (!answer.ok) throw new Error(`${answer.status}`);
  window.open(URL.createObjectURL(await answer.blob()), "_blank");
}

const POLL_MS = 200;

/** Waits for a job of ours and gives its result. */
export async function outcome<T extends Checked | Undone>(job: string, key: string): Promise<T> {
  for (;;) {
    const now = await ask<UploadJob>(`viewer/uploads/jobs/${job}`, key);
    if (now.status === "successful") return now.result as T; // a job of checks or loading gives Checked, one of undoing Undone
    if (now.status === "failed" || now.status === "dismissed") throw new Error(now.message);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
