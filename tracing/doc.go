// Package tracing follows a review through hssgate by OpenTelemetry: a span for
// the review, below it one for the decision, below that one for each image that
// is not known and must be looked up, and below that one for each call to HSS,
// with the id of the request that Huawei Cloud's support asks for.
//
// Whoever has a context has its trace: a span is begun below the one in the
// context, and where there is none, nothing is. So nothing is global, and what
// isn't traced costs the look into the context.
package tracing
