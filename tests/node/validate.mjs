// Validates GLBs with the Khronos glTF validator; prints one JSON line a file that has an error or a warning.
import { readFileSync } from "node:fs";
import validator from "gltf-validator";

const ours = ["EXT_mesh_features", "EXT_structural_metadata"]; // the validator doesn't know these
for (const path of readFileSync(0, "utf8").split("\n").filter(Boolean)) {
  const report = await validator.validateBytes(new Uint8Array(readFileSync(path)), { maxIssues: 20 });
  const found = report.issues.messages.filter(
    (m) => m.severity <= 1 && !ours.some((name) => m.message.includes(name)),
  );
  if (found.length) console.log(JSON.stringify({ path, found }));
}
console.log(JSON.stringify({ validator: validator.version() }));
