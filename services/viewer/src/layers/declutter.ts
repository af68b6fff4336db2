import { type Billboard, Cartesian2, Cartesian3, type CesiumWidget, type Label, SceneTransforms } from "@cesium/engine";

/** A sign or a label that may stand in another's way; the lower rank gives way. */
export type Mark = { sign: Billboard | null; label: Label | null; at: Cartesian3; reach: { sign: number; label: number }; rank: number; width: number };

const CELL_PX = 24;
const EVERY_MS = 180;
const SIGN_PX = 24;
const TEXT_PX = 15;

/**
 * Shows signs and labels where there is room for them on the screen: what matters more first, nothing over another.
 * It runs when the camera rests, over what the layers registered.
 */
export class Declutter {
  readonly #groups = new Map<string, { marks: Mark[]; shown: boolean }>();
  #timer = 0;

  constructor(private readonly widget: CesiumWidget) {
    widget.camera.changed.addEventListener(() => this.soon());
    widget.camera.moveEnd.addEventListener(() => this.soon());
    widget.camera.percentageChanged = 0.08;
    widget.scene.globe.tileLoadProgressEvent.addEventListener((left: number) => left === 0 && this.soon());
  }

  set(layer: string, marks: Mark[]): void {
    this.#groups.set(layer, { marks, shown: this.#groups.get(layer)?.shown ?? true });
    this.soon();
  }

  show(layer: string, shown: boolean): void {
    const group = this.#groups.get(layer);
    if (group) group.shown = shown;
    this.soon();
  }

  soon(): void {
    if (!this.#timer)
      this.#timer = window.setTimeout(() => {
        this.#timer = 0;
        this.#run();
      }, EVERY_MS);
  }

  #run(): void {
    const { camera, scene } = this.widget;
    const taken = new Set<number>();
    const size = { w: scene.canvas.clientWidth, h: scene.canvas.clientHeight };
    const candidates: { mark: Mark; distance: number; sort: number }[] = [];
    for (const { marks, shown } of this.#groups.values())
      if (shown)
        for (const mark of marks) {
          const distance = Cartesian3.distance(camera.positionWC, placed(mark));
          const near = distance < Math.max(mark.reach.sign, mark.reach.label);
          if (near) candidates.push({ mark, distance, sort: mark.rank * 1e6 + distance });
          else set(mark, false, false);
        }
    candidates.sort((a, b) => a.sort - b.sort);
    const scratch = new Cartesian2();
    for (const { mark, distance } of candidates) {
      const at = SceneTransforms.worldToWindowCoordinates(scene, placed(mark), scratch);
      if (!at || at.x < -40 || at.y < -40 || at.x > size.w + 40 || at.y > size.h + 40) {
        set(mark, false, false);
        continue;
      }
      const up = mark.sign ? SIGN_PX : 0;
      const sign = mark.sign !== null && distance < mark.reach.sign && free(taken, at.x, at.y - SIGN_PX / 2, SIGN_PX, SIGN_PX);
      const wanted = mark.label !== null && distance < mark.reach.label && (sign || mark.sign === null);
      const label = wanted && free(taken, at.x, at.y - up - TEXT_PX / 2, mark.width, TEXT_PX);
      set(mark, sign, label);
      if (sign) take(taken, at.x, at.y - SIGN_PX / 2, SIGN_PX, SIGN_PX);
      if (label) take(taken, at.x, at.y - up - TEXT_PX / 2, mark.width, TEXT_PX);
    }
    scene.requestRender();
  }
}

/** Where a mark stands once it was put on the ground. */
function placed(mark: Mark): Cartesian3 {
  const onGround = (mark.sign ?? mark.label) as unknown as { _clampedPosition?: Cartesian3 } | null;
  return onGround?._clampedPosition ?? mark.at;
}

function set(mark: Mark, sign: boolean, label: boolean): void {
  if (mark.sign) mark.sign.show = sign;
  if (mark.label) mark.label.show = label;
}

function* cells(x: number, y: number, w: number, h: number): Generator<number> {
  for (let i = Math.floor((x - w / 2) / CELL_PX); i <= Math.floor((x + w / 2) / CELL_PX); i++)
    for (let j = Math.floor((y - h / 2) / CELL_PX); j <= Math.floor((y + h / 2) / CELL_PX); j++) yield (i + 100) * 4096 + j + 100;
}

function free(taken: ReadonlySet<number>, x: number, y: number, w: number, h: number): boolean {
  for (const cell of cells(x, y, w, h)) if (taken.has(cell)) return false;
  return true;
}

function take(taken: Set<number>, x: number, y: number, w: number, h: number): void {
  for (const cell of cells(x, y, w, h)) taken.add(cell);
}
