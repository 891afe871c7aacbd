// Package audit judges the pods that already run, again and again, by the same
// gate that judged them when they came: so that an image that turned bad since
// is found, and so that a policy shows what it would deny before it does.
//
// One replica audits, the elected one. It goes through the cluster one
// namespace after the other and one page of pods after the other, and asks HSS
// in the background, behind every admission. What it finds is in the status of
// each policy, in one Event for each workload and policy, in one report for
// each namespace, and in metrics; all of it is bounded, however much is wrong.
package audit
