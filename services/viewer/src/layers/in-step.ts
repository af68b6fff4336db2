/** How something is brought onto the scene and taken off it again. */
export type Stage<T> = {
  load(): Promise<T>;
  add(drawn: T): void;
  /** Takes it off the scene, or discards what never came onto it. */
  remove(drawn: T): void;
  show(drawn: T, visible: boolean): void;
  /** Resolves when it can take the place of what is shown. */
  ready(drawn: T): Promise<void>;
};

export type InStep<T> = { current(): T | null; show(visible: boolean): void; follow(): Promise<void> };

/**
 * Keeps one thing on the scene, the one of the moment that was asked for last: the old stays until the new is ready, and
 * what comes late is discarded. Where `exists` says that there is none at the moment, nothing is on the scene.
 */
export function inStep<T>(exists: () => boolean, stage: Stage<T>): InStep<T> {
  let current: T | null = null;
  let visible = true;
  let turn = 0;
  const replace = (next: T | null) => {
    const before = current;
    current = next;
    if (next !== null) stage.show(next, visible);
    if (before !== null) stage.remove(before);
  };
  const follow = async () => {
    const asked = (turn += 1);
    if (!exists()) return replace(null);
    const next = await stage.load();
    if (asked !== turn) return stage.remove(next);
    stage.show(next, false);
    stage.add(next);
    if (visible && current !== null) await stage.ready(next);
    if (asked !== turn) return stage.remove(next);
    replace(next);
  };
  return {
    current: () => current,
    show: (wanted) => {
      visible = wanted;
      if (current !== null) stage.show(current, visible);
    },
    follow,
  };
}
