// Package hsstest is a fake of Huawei Cloud HSS's image API for tests, demonstrations and load tests. It is to HSS
// what net/http/httptest is to a web server.
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
// It serves these calls below /v5/{project_id} (see [Endpoint]), IAM's GET /v3/projects?name={region}, and the two of IAM
// that exchange a service account's token for temporary keys ([WithIdentityProviders]):
//
//	GET image/registries/images           the list
//	GET image/{image_id}/vulnerabilities  of one image, or of one architecture of it
//	GET image/{image_id}/sensitive        the secrets in one
//	GET image/{image_id}/malwares         the malicious files in one
//	GET image/vulnerability/{vul_id}/cve  the CVEs of a vulnerability
//	GET images/vulnerabilities            those of all images
//	GET vulnerability/images              the images that have one
//	GET image/pay-per-scan/statistics     how many scans were made
//	POST image/image-scan/tasks           starts scans
//	POST image/image-sync/tasks           synchronizes registries
//	GET image/registries                  the registries
//
// The last lists of vulnerabilities and images follow from the vulnerabilities of the rows that were scanned. The statistics
// count the successful scans since the start.
//
// A scan moves its row from unscan over waiting_for_scan and scanning to its [ScanOutcome], by the clock
// ([WithScanTimes]). A Hidden row appears when its registry is synchronized.
//
// Every request must carry an SDK-HMAC-SHA256 signature or an X-Auth-Token, unless [WithoutAuthentication] is given.
// Query parameters are checked for type, range, length and values. Filters, sorting and paging work; total_num counts
// the rows of all pages.
//
// Of a service account's token it checks issuer, audience, subject and expiry, but no signature: [IdentityProvider.Token]
// makes one without.
//
// It knows the parameters that package hss sends, and no others. It does not lock access keys after failed signatures,
// list tasks, scan or synchronize everything at once, or serve images of CI/CD pipelines.
//
// # Where the reference is silent
//
// [Behavior] has a switch for each ambiguity of HSS's answers, so that a client can be tested with every reading
// ([WithBehavior]). Of requests the server takes the stricter view:
//   - rows without sort_key come in the order of the inventory;
//   - unknown and repeated query parameters, and unknown fields of a body, are errors;
//   - a security token must be signed, and "+" in a query is not a space;
//   - a time that a row lacks is in no range, and sorts first;
//   - an image to scan must match every given field; an unknown image or registry is HSS.0011;
//   - a vulnerability that no row has is one without CVEs.
//
// # Faults
//
// [Handler.Inject] scripts faults, which are consumed in order: error statuses, throttling, HTML, empty and cut bodies,
// hanging and slow responses. [Handler.Stats] counts the requests.
package hsstest
