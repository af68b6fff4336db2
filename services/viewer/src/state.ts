import type { Language } from "./api";
import type { Coloured } from "./results";
import { readScene } from "./scene-address";

/** A value that tells who subscribed when it changes. */
export class Observable<T> {
  #value: T;
  #subscribers = new Set<(value: T) => void>();
  constructor(value: T) {
    this.#value = value;
  }
  get value(): T {
    return this.#value;
  }
  set value(next: T) {
    if (Object.is(next, this.#value)) return;
    this.#value = next;
    for (const tell of this.#subscribers) tell(next);
  }
  /** Calls now and at each change. */
  subscribe(tell: (value: T) => void): void {
    this.#subscribers.add(tell);
    tell(this.#value);
  }
}

export type Selected = { layer: string; id: string } | null;

/** The moment that the address asks for: what stands after '#' rules, where it says anything of it. */
function firstMoment(): string | null {
  const { at } = readScene(location.hash);
  return at !== undefined ? at : new URLSearchParams(location.search).get("at") || null;
}

/** What the page's parts share; each subscribes to what it shows. */
export const state = {
  language: new Observable<Language>("zh"),
  visible: new Observable<ReadonlySet<string>>(new Set()),
  selected: new Observable<Selected>(null),
  colorByUse: new Observable(false),
  result: new Observable<Coloured | null>(null), // what an analysis coloured
  job: new Observable<string | null>(null), // whose result that is
  key: new Observable(""), // of who has signed in; it stays in this page
  placing: new Observable<((lon: number, lat: number, height: number) => void) | null>(null), // who gets the next place that is clicked
  at: new Observable<string | null>(firstMoment()), // the moment that is shown; null: now
  opacity: new Observable<Readonly<Record<string, number>>>({}), // of layers that aren't opaque
  tool: new Observable<string | null>(null), // the tool whose panel is open
  edition: new Observable(0), // grows when what the catalogue counts has changed
};

export function toggleLayer(id: string): void {
  const next = new Set(state.visible.value);
  if (!next.delete(id)) next.add(id);
  state.visible.value = next;
}
