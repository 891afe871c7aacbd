// Package webhook is the front that the API server asks: it reads an
// AdmissionReview, asks the gate, and answers.
//
// It answers every review in full and in time, whatever happens. The API server
// applies a webhook's failurePolicy to calls that fail, so a bare error would
// let an object in under Ignore; hssgate therefore says no in a complete answer
// where a policy denies, and never leaves it to chance.
package webhook
