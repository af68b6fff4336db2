import type { Fault } from "./generated";
import { state } from "./state";

/** What says who asks: nothing for who hasn't signed in. */
export const signed = (): Record<string, string> => (state.key.value ? { "X-API-Key": state.key.value } : {});

const inLanguage = (path: string) => `${path}${path.includes("?") ? "&" : "?"}lang=${state.language.value}`;

/** Asks in the page's language, for who has signed in; a fault is thrown in the words of the server. */
export async function send(path: string, init: RequestInit = {}): Promise<Response> {
  const answer = await fetch(inLanguage(path), { ...init, headers: { ...(init.headers as Record<string, string>), ...signed() } });
  if (answer.ok) return answer;
  const fault = (await answer.json().catch(() => null)) as Fault | null;
  throw new Error(fault?.detail ?? fault?.title ?? `${path}: ${answer.status}`);
}

export async function ask<T>(path: string, init: RequestInit = {}): Promise<T> {
  return (await (await send(path, init)).json()) as T;
}
