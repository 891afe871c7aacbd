// Package policy judges an image by what HSS knows of it and by what an
// ImageScanPolicy asks. It does no I/O: the same facts, policy and time always
// give the same findings, in the same order.
//
// An operator should know how it reads HSS's words:
//
//   - What is not known is not safe. A severity level or scan status that
//     HSS's documentation doesn't name, a missing number and a policy that
//     can't be read all count against the image.
//   - Only a scan that succeeded has a result. A failed one is reported once,
//     with HSS's reason, and its numbers are not looked at.
//   - An image that is being scanned again keeps its last completed result.
//     One without such a result, or pushed after it, is not scanned, and the
//     policy's when.notScanned decides.
//   - If several records fit the reference, each must pass; so must every
//     architecture of a multi-architecture image.
//
// Each requirement has a file of its own, check_….go, which begins with what
// it forbids and allows. To add one, copy the smallest and list it in checks.
package policy
