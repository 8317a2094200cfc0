export { SonoprobeClient, dataOf, everyItem } from "./client.js";
export type { BatchOptions, ClientOptions, Operation, ScanFile, Schemas } from "./client.js";
export { ItemsError, ProblemError, raiseForItems } from "./problems.js";
export type { Problem } from "./problems.js";
export { FrameStream, StreamClosedError } from "./stream.js";
export type {
  Pixels,
  StreamAddress,
  StreamDecision,
  StreamMessage,
  StreamOptions,
  StreamProblem,
  StreamReady,
} from "./stream.js";
export type { components, operations, paths } from "./openapi.js";
