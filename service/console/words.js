// The plain words of the console: numbers with their intervals, reasons, problems.

/** A share; 0 % and 100 % are said of exactly none and all, and are never the result of rounding. */
export function percent(value) {
  return value === 0 || value === 1 ? `${100 * value} %` : probability(value);
}

/** A probability of a class; never 0 % or 100 %, because nothing is that certain. */
export function probability(value) {
  if (value === null || value === undefined) return "unknown";
  if (value < 0.0005) return "< 0.1 %";
  if (value >= 0.9995) return "> 99.9 %";
  return `${(100 * value).toFixed(value >= 0.995 || value < 0.01 ? 1 : 0)} %`;
}

export function withInterval(value, interval) {
  if (value === null || value === undefined) return "not measured";
  const [low, high] = Array.isArray(interval) ? interval : interval ? [interval.low, interval.high] : [null, null];
  if (low === null || low === undefined) return percent(value);
  return `${percent(value)} (95 % interval: ${percent(low)} to ${percent(high)})`;
}

export function count(number, one, many = `${one}s`) {
  return `${Number(number).toLocaleString("en")} ${number === 1 ? one : many}`;
}

export function when(time) {
  return time ? new Date(time).toLocaleString() : "never";
}

const ABSTAINED = {
  blank: "The picture shows nothing: it is blank or of one grey.",
  frozen: "The clip does not move, so it holds no more than one frame.",
  not_ultrasound: "This does not look like an ultrasound picture.",
  far_from_every_example: "Nothing like this is among the examples that taught this classifier.",
};

/** Why a classifier does not answer. */
export function abstention({ because, between }) {
  if (because === "ambiguous") {
    return between?.length
      ? `Two answers are about equally likely: ${between.join(" and ")}.`
      : "Several answers are about equally likely.";
  }
  return ABSTAINED[because] ?? because;
}

const QUALITY = {
  blank: "nothing to see",
  frozen: "does not move",
  saturated: "much of it is pure white",
  tiny: "very few pixels",
  colour_doppler: "colour Doppler",
  photo_of_a_screen: "looks like a photo of a screen",
  not_ultrasound: "does not look like ultrasound",
};

export function qualityFinding(reason) {
  return QUALITY[reason] ?? reason;
}

export const BURNED_IN = {
  none: "no burned-in text found",
  low: "burned-in text was found and masked",
  high: "burned-in text may still be legible",
};

export const VERDICT = {
  better: "better",
  worse: "worse",
  cannot_tell: "no difference can be told",
};

const METRIC = {
  balanced_accuracy: "Balanced accuracy",
  auroc: "AUROC",
  log_loss: "Log loss (smaller is better)",
};

export function metricName(metric) {
  return METRIC[metric] ?? metric;
}

const PROBLEMS = {
  unauthenticated: "The service does not know this key, or it has expired.",
  too_many_failed_keys: "Too many unknown keys were tried from this machine. Wait a minute.",
  overloaded: "The service is busy. Try again in a moment.",
  stopping: "The service is shutting down. Nothing was stored.",
  unsupported_format: "This is no file that the service can read.",
  corrupt_image: "The file is damaged and cannot be read completely.",
  not_enough_examples: "There are too few labelled examples.",
  name_taken: "This name is in use already.",
};

/** A problem in words. The service's own detail follows, because it names the rule. */
export function problemWords(error) {
  if (error?.problem) {
    const { code, detail, scope } = error.problem;
    if (code === "missing_scope") return `Your key does not allow this (it lacks the right “${scope}”).`;
    const known = PROBLEMS[code];
    return known && detail ? `${known} ${sentence(detail)}` : known || sentence(detail);
  }
  if (error instanceof TypeError) return "The service did not answer. Is it running, and is the network there?";
  return String(error?.message ?? error);
}

/** Of whom the examples are that a report was measured on: ids of patients may be missing. */
export function heldOut(report) {
  const unnamed = report.grouping?.without_ids ?? 0;
  if (unnamed === 0) return "patients that it had not seen";
  return unnamed < report.examples
    ? "patients that it had not seen, and pictures that name no patient"
    : "pictures that it had not seen and that name no patient";
}

/** A reason of the service as a sentence. Its groups are patients, or pictures so alike that they count as one. */
export function reason(text) {
  return sentence(text.replace(/\bgroups\b/g, "patients"));
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

export const NOT_A_DEVICE =
  "Sonoprobe is no medical device. Its answers are a second look for research, not a diagnosis.";
