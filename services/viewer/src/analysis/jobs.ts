import { ask, send } from "../ask";
import type { Job, JobList, Process, ProcessList, ProcessSummary, Results } from "../generated";
import { state } from "../state";

/** The processes of the server and the jobs of who asks: `/ogc/processes`, `/ogc/jobs`. */
export const readProcesses = async (): Promise<ProcessSummary[]> => (await ask<ProcessList>("ogc/processes?f=json")).processes;
export const readProcess = (id: string) => ask<Process>(`ogc/processes/${id}?f=json`);
export const readJob = (id: string) => ask<Job>(`ogc/jobs/${id}?f=json`);
export const readJobs = async (): Promise<Job[]> => (await ask<JobList>("ogc/jobs?f=json")).jobs;
export const readResults = (id: string) => ask<Results>(`ogc/jobs/${id}/results`);

export type RasterPicture = { image: ImageBitmap; box: [number, number, number, number]; bounds: number[] };

/** The raster of a result as a picture, the box of degrees that it covers, and the bounds of its classes. */
export async function readPicture(id: string): Promise<RasterPicture> {
  const answer = await send(`ogc/jobs/${id}/results?f=png`);
  const numbers = (name: string) => (answer.headers.get(name) || null)?.split(",").map(Number) ?? [];
  const box = numbers("Content-Bbox") as [number, number, number, number];
  return { image: await createImageBitmap(await answer.blob()), box, bounds: numbers("Content-Classes") };
}

/** The bodies of a result as a GLB, and where its origin stands: longitude, latitude, ellipsoidal height. */
export async function readMesh(id: string): Promise<{ glb: Blob; place: [number, number, number] }> {
  const answer = await send(`ogc/jobs/${id}/results.glb`);
  const place = (answer.headers.get("Content-Place") ?? "").split(",").map(Number) as [number, number, number];
  return { glb: await answer.blob(), place };
}

const JSON_BODY = { "Content-Type": "application/json" };

/** Queues an analysis, at the moment that is shown; gives the id of its job. */
export async function startJob(process: string, inputs: Record<string, unknown>): Promise<string> {
  const dated = state.at.value ? { ...inputs, at: state.at.value } : inputs;
  const job = await ask<Job>(`ogc/processes/${process}/execution`, {
    method: "POST",
    headers: { ...JSON_BODY, Prefer: "respond-async" },
    body: JSON.stringify({ inputs: dated }),
  });
  return job.jobID;
}

/** Ends a job that waits or runs, and forgets the result of one that is done. */
export const dismissJob = (id: string) => ask<Job>(`ogc/jobs/${id}`, { method: "DELETE" });

/** Lets everybody see a result, or takes that back. */
export const shareJob = (id: string, shared: boolean) =>
  ask<Job>(`ogc/jobs/${id}`, { method: "PATCH", headers: JSON_BODY, body: JSON.stringify({ shared }) });
