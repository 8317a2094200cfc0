// Embed frames by onnxruntime-web (WebAssembly), as a page would: NETWORK FRAMES COUNT SIDE -> JSON rows.
import fs from 'node:fs';

import * as ort from 'onnxruntime-web';

const [network, frames, count, side] = process.argv.slice(2);
ort.env.wasm.numThreads = 1;
ort.env.logLevel = 'error';
const bytes = fs.readFileSync(frames);
const values = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4);
const session = await ort.InferenceSession.create(fs.readFileSync(network), {executionProviders: ['wasm']});
const shape = [Number(count), 3, Number(side), Number(side)];
const {embedding} = await session.run({frames: new ort.Tensor('float32', values, shape)}, ['embedding']);
process.stdout.write(JSON.stringify(Array.from(embedding.data)));
