// What of a test file's coverage counts (tap's coverage-map): all, except in the benchmark's tests. The thresholds are for lib/; most of
// the benchmark drives real guests, and only its evaluation of figures has unit tests.
export default (test) => (test.startsWith('test/bench/') ? null : []);
