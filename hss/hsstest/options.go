package hsstest

import (
	"time"

	"github.com/hssgate/hssgate/hss/inventoryfile"
)

// A server holds what an inventory file holds.
type (
	// Image is one row of the list. It is served as it is, without defaults except where a field documents one,
	// since real rows lack fields too. The server assigns an ID to rows without one.
	Image = inventoryfile.Image
	// Architecture is one architecture of a multi-architecture image.
	Architecture = inventoryfile.Architecture
	// Vulnerability is one row of an image's vulnerabilities.
	Vulnerability = inventoryfile.Vulnerability
	// ScanOutcome is the result of a scan.
	ScanOutcome = inventoryfile.ScanOutcome
	// Registry is a registry that HSS knows.
	Registry = inventoryfile.Registry
	// IAMProject is a project as IAM lists it, named after its region.
	IAMProject = inventoryfile.IAMProject
	// Credential is a key pair that the server accepts.
	Credential = inventoryfile.Credential
)

// DefaultProjectID is the project that IAM lists for every region by default.
const DefaultProjectID = "hsstest-project"

// Count returns a count for [Image] and [Architecture], whose counts are optional.
func Count(n int) *int { return new(n) }

// DefaultCredential returns the credential that a server without credentials and tokens of its own accepts. It is
// public and protects nothing.
func DefaultCredential() Credential {
	return Credential{AccessKey: "HSSTESTACCESSKEY", SecretKey: "hsstest-secret-key"}
}

// Option configures a server.
type Option func(*options)

type options struct {
	inventoryfile.File

	faults      []Fault
	withoutAuth bool
	substring   bool
	repeatRows  bool
	shuffle     *uint64
	latency     time.Duration
	perSecond   int
	retryAfter  time.Duration
	scanTimes   scanTimes
	now         func() time.Time
}

func newOptions(list []Option) *options {
	o := &options{now: time.Now, scanTimes: scanTimes{2 * time.Second, 8 * time.Second, time.Second}}
	for _, option := range list {
		option(o)
	}
	if len(o.Credentials) == 0 && len(o.Tokens) == 0 {
		o.Credentials = []Credential{DefaultCredential()}
	}
	return o
}

// WithImages adds rows to the inventory.
func WithImages(images ...Image) Option {
	return func(o *options) { o.Images = append(o.Images, images...) }
}

// WithInventory adds everything that an inventory file holds.
func WithInventory(file *inventoryfile.File) Option {
	return func(o *options) {
		o.Images = append(o.Images, file.Images...)
		o.Registries = append(o.Registries, file.Registries...)
		o.Credentials = append(o.Credentials, file.Credentials...)
		o.Tokens = append(o.Tokens, file.Tokens...)
		o.Projects = append(o.Projects, file.Projects...)
		o.IAMProjects = append(o.IAMProjects, file.IAMProjects...)
		for i := range file.Faults {
			o.faults = append(o.faults, faultOf(&file.Faults[i]))
		}
	}
}

// WithRegistries adds registries.
func WithRegistries(registries ...Registry) Option {
	return func(o *options) { o.Registries = append(o.Registries, registries...) }
}

// WithCredentials adds key pairs that are accepted. The last of several with the same access key counts.
func WithCredentials(credentials ...Credential) Option {
	return func(o *options) { o.Credentials = append(o.Credentials, credentials...) }
}

// WithTokens adds values of X-Auth-Token that are accepted.
func WithTokens(tokens ...string) Option {
	return func(o *options) { o.Tokens = append(o.Tokens, tokens...) }
}

// WithoutAuthentication accepts every request, signed or not.
func WithoutAuthentication() Option {
	return func(o *options) { o.withoutAuth = true }
}

// WithProjects names the projects that exist. By default every project does.
func WithProjects(ids ...string) Option {
	return func(o *options) { o.Projects = append(o.Projects, ids...) }
}

// WithIAMProjects sets the projects that IAM lists, each for the region in its name. By default IAM lists those of
// [WithProjects], or [DefaultProjectID], for every region.
func WithIAMProjects(projects ...IAMProject) Option {
	return func(o *options) { o.IAMProjects = append(o.IAMProjects, projects...) }
}

// WithSubstringMatching makes text filters match substrings, as other image endpoints of HSS do.
func WithSubstringMatching() Option {
	return func(o *options) { o.substring = true }
}

// WithShuffledRows serves rows in an order that depends on seed only, the same on all pages.
func WithShuffledRows(seed uint64) Option {
	return func(o *options) { o.shuffle = &seed }
}

// WithRepeatedRows starts every page but the first with the last row of the page before, as when an image is pushed
// while a client pages.
func WithRepeatedRows() Option {
	return func(o *options) { o.repeatRows = true }
}

// WithLatency delays every response; see [Handler.SetLatency].
func WithLatency(d time.Duration) Option {
	return func(o *options) { o.latency = d }
}

// WithThrottling answers requests beyond n a second with 429 APIGW.0308, and a Retry-After of whole seconds if
// retryAfter is positive. 0 is no limit.
func WithThrottling(n int, retryAfter time.Duration) Option {
	return func(o *options) { o.perSecond, o.retryAfter = n, retryAfter }
}

// WithScanTimes sets how long a scan waits and runs, and how long a synchronization takes, by the server's clock. A
// negative time ends with [Handler.FinishScans] only. The default is 2, 8 and 1 seconds.
func WithScanTimes(waiting, scanning, syncing time.Duration) Option {
	return func(o *options) { o.scanTimes = scanTimes{waiting, scanning, syncing} }
}

// WithClock sets the clock of signatures, throttling and scans. Latency and slow responses use real time.
func WithClock(now func() time.Time) Option {
	return func(o *options) { o.now = now }
}

// WithFaults scripts faults from the start; see [Handler.Inject].
func WithFaults(faults ...Fault) Option {
	return func(o *options) { o.faults = append(o.faults, faults...) }
}
