import { Observable } from "../state";
import { analyses } from "./analyses";
import { colour } from "./colour";
import { home } from "./home";
import { language } from "./language";
import { measure } from "./measure";
import { share } from "./share";
import { sun } from "./sun";
import { time } from "./time";
import type { Tool } from "./tool";
import { upload } from "./upload";

/** The page's own tools, in their order. A new tool is a file and a row here. */
export const TOOLS: Tool[] = [home, colour, analyses, measure, time, sun, upload, share, language];

/** The tools of the bar: those, and what other packages bring (`brought.ts`). */
export const tools = new Observable<readonly Tool[]>(TOOLS);
