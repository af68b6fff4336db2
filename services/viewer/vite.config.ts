import { cpSync, existsSync } from "node:fs";
import { resolve } from "node:path";
import type { Plugin } from "vite";
import { defineConfig } from "vitest/config";

const OUT = resolve(import.meta.dirname, "../static/viewer");
const EXAMPLES = resolve(import.meta.dirname, "../../tests/example"); // with a tool that a package brings, which a test mounts
const ENGINE = resolve(import.meta.dirname, "node_modules/@cesium/engine");

/** Cesium loads workers, textures and WebAssembly by address: they lie beside the page. */
function cesiumAssets(): Plugin {
  const parts: [string, string][] = [
    ["Build/Workers", "Workers"],
    ["Build/ThirdParty", "ThirdParty"],
    ["Source/Assets", "Assets"],
  ];
  return {
    name: "cesium-assets",
    closeBundle() {
      for (const [from, to] of parts) {
        const source = resolve(ENGINE, from);
        if (!existsSync(source)) continue;
        cpSync(source, resolve(OUT, "cesium", to), {
          recursive: true,
          // the world's imagery and the star map are 10 MB that this viewer never shows
          filter: (path) => !/NaturalEarthII|SkyBox|tycho/.test(path),
        });
      }
    },
  };
}

export default defineConfig({
  base: "./", // every address is relative: the page works under any prefix
  build: { outDir: OUT, emptyOutDir: true, target: "chrome100", chunkSizeWarningLimit: 6000 },
  plugins: [cesiumAssets()],
  server: { fs: { allow: [import.meta.dirname, EXAMPLES] } },
  test: { environment: "happy-dom", include: ["tests/**/*.test.ts"], isolate: false },
});
