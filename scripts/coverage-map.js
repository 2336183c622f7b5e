// What of a test file's coverage counts (tap's coverage-map): all, but none of the benchmark's. The thresholds are a promise about lib/;
// most of the benchmark drives real guests, and only what it makes of its figures has unit tests.
export default (test) => (test.startsWith('test/bench/') ? null : []);
