// Package hsstest serves Huawei Cloud HSS's list of registry images, and what
// stands beside it, as the reference documents it, for tests, demonstrations and load tests that have
// no HSS at hand. It is to HSS what net/http/httptest is to a web server.
//
// In a test:
//
//	server := hsstest.NewServer(hsstest.WithImages(
//		hsstest.Image{Namespace: "prod", ImageName: "app", ImageVersion: "1.0", ScanStatus: "success"},
//	))
//	defer server.Close()
//	// point a client at server.URL, with hsstest.DefaultCredential()
//
// The program hss-simulator serves an inventory file, whose format is described at [inventoryfile.Parse].
//
// # What it does
//
// Below /v5/{project_id} it answers these calls and nothing else; a fault or a
// counter may be of one of them (see [Endpoint]):
//
//	GET image/registries/images           the list
//	GET image/{image_id}/vulnerabilities  of one image or architecture of it
//	POST image/image-scan/tasks           starts scans
//	POST image/image-sync/tasks           synchronises registries
//	GET image/registries                  the registries
//	GET image/tasks                       scans and synchronisations
//
// It is IAM, too: GET /v3/projects?name={region} lists the projects of
// [WithIAMProjects], by which a client finds its project ID.
//
// A scan that was started moves its row from unscan over waiting_for_scan and
// scanning to its [ScanOutcome], by the clock ([WithScanTimes]) or when the test
// says so ([Handler.FinishScans]). A row that is Hidden is found once its
// registry was synchronised.
//
// Every request must carry an SDK-HMAC-SHA256 signature or an X-Auth-Token,
// unless the server was made [WithoutAuthentication]. Signatures are verified
// by an implementation of their own, so that the server can serve as an
// oracle for clients. Each query parameter is checked for its type, range,
// length and values. All filters, sorting and paging work; total_num counts
// the rows before paging.
//
// # Where the reference is silent
//
// The server then takes the stricter view, so that a client that works here
// relies on nothing undocumented:
//   - text filters match exactly, unless [WithSubstringMatching] says otherwise;
//   - the order of rows without sort_key is that of the inventory, unless
//     [WithShuffledRows];
//   - an unknown or repeated query parameter is refused, unless [WithUnknownParameters];
//   - a security token must be signed, and a "+" in a query is not a space;
//   - image_size matches exactly; risky means that any count is above 0; a row
//     of several architectures has what any of them has;
//   - a time that a row lacks is in no range, and sorts first;
//   - an image that is to be scanned must be as the request says in every field,
//     and one that isn't there, or whose vulnerabilities are asked for, is an
//     error (HSS.0011), as is a registry that isn't known;
//   - a body must be JSON of known fields, with its content type.
//
// # Faults
//
// [Handler.Inject] scripts what goes wrong: error statuses, throttling, HTML,
// empty and cut bodies, hanging and slow answers. Faults are consumed in
// order. [Handler.Stats] tells what was asked.
package hsstest
