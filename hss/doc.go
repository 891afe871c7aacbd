// Package hss is a client of Huawei Cloud HSS (Host Security Service), for the
// images of one project in one region: the list of those that HSS knows in its
// registries, with what it found in each (ListRegistryImages); and what stands
// beside it: the vulnerabilities of one image, starting a scan, synchronising
// registries, and the lists of registries and tasks.
//
// A [Client] needs an endpoint, a project and a [CredentialSource]. It signs
// every request with an access key (SDK-HMAC-SHA256), or sends a token in
// X-Auth-Token. [DefaultCredentials] looks where the official SDK and a CCE
// node or pod would have them.
//
// What an operator should know:
//
//   - Answers 429, 502, 503 and 504 and broken connections are tried again
//     inside the caller's deadline; 500 once; other errors never.
//   - A scan costs money, so it is asked for again only if HSS certainly has not
//     received the request: see [Client.StartScan].
//   - More than five failed signatures in a row lock an access key for 5
//     minutes. So after a refused signature the client stops asking for a while
//     and says so; changed credentials end the wait.
//   - A 200 without a list is an error, never an empty list.
//   - Secrets are of the type [Secret], which prints as "[redacted]".
//
// Facts about the API are those of its reference page of 2025-09-26 and of the
// models of the official Go SDK, v0.1.207.
package hss
