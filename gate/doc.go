// Package gate makes the decision: the policies that match an object, what HSS
// knows of its images, and what follows.
//
// Every front asks it (the webhook, the background audit, the command line), so
// that none can disagree with another.
package gate
