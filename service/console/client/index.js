export { SonoprobeClient, dataOf, everyItem } from "./client.js";
export { ItemsError, ProblemError, raiseForItems } from "./problems.js";
export { FrameStream, StreamClosedError } from "./stream.js";
