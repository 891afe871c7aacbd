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
	// CVE is one CVE of a vulnerability.
	CVE = inventoryfile.CVE
	// Secret is a secret in an image.
	Secret = inventoryfile.Secret
	// MaliciousFile is a malicious file in an image.
	MaliciousFile = inventoryfile.MaliciousFile
	// ScanOutcome is the result of a scan.
	ScanOutcome = inventoryfile.ScanOutcome
	// Registry is a registry that HSS knows.
	Registry = inventoryfile.Registry
)

// IAMProject is a project as IAM lists it, named after its region.
type IAMProject struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// Credential is a key pair that the server accepts.
type Credential struct {
	AccessKey string
	SecretKey string
	// SecurityToken makes it a temporary credential: requests must send and sign it as X-Security-Token.
	SecurityToken string
}

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
	images      []Image
	registries  []Registry
	credentials []Credential
	tokens      []string
	iamProjects []IAMProject
	providers   []IdentityProvider

	withoutAuth bool
	behavior    Behavior
	latency     time.Duration
	scanTimes   scanTimes
	now         func() time.Time
}

func newOptions(list []Option) *options {
	o := &options{now: time.Now, scanTimes: scanTimes{2 * time.Second, 8 * time.Second, time.Second}}
	for _, option := range list {
		option(o)
	}
	if len(o.credentials) == 0 && len(o.tokens) == 0 {
		o.credentials = []Credential{DefaultCredential()}
	}
	return o
}

// WithImages adds rows to the inventory.
func WithImages(images ...Image) Option {
	return func(o *options) { o.images = append(o.images, images...) }
}

// WithInventory adds everything that an inventory file holds.
func WithInventory(file *inventoryfile.File) Option {
	return func(o *options) {
		o.images = append(o.images, file.Images...)
		o.registries = append(o.registries, file.Registries...)
	}
}

// WithRegistries adds registries.
func WithRegistries(registries ...Registry) Option {
	return func(o *options) { o.registries = append(o.registries, registries...) }
}

// WithCredentials adds key pairs that are accepted.
func WithCredentials(credentials ...Credential) Option {
	return func(o *options) { o.credentials = append(o.credentials, credentials...) }
}

// WithTokens adds values of X-Auth-Token that are accepted.
func WithTokens(tokens ...string) Option {
	return func(o *options) { o.tokens = append(o.tokens, tokens...) }
}

// WithoutAuthentication accepts every request, signed or not.
func WithoutAuthentication() Option {
	return func(o *options) { o.withoutAuth = true }
}

// WithIAMProjects sets the projects that IAM lists, each for the region in its name. By default IAM lists
// [DefaultProjectID] for every region.
func WithIAMProjects(projects ...IAMProject) Option {
	return func(o *options) { o.iamProjects = append(o.iamProjects, projects...) }
}

// WithIdentityProviders adds identity providers of IAM, by which a service account's token is exchanged for temporary keys.
func WithIdentityProviders(providers ...IdentityProvider) Option {
	return func(o *options) { o.providers = append(o.providers, providers...) }
}

// WithLatency delays every response; see [Handler.SetLatency].
func WithLatency(d time.Duration) Option {
	return func(o *options) { o.latency = d }
}

// WithScanTimes sets how long a scan waits and runs, and how long a synchronization takes, by the server's clock. What
// takes a negative time never ends. The default is 2, 8 and 1 seconds.
func WithScanTimes(waiting, scanning, syncing time.Duration) Option {
	return func(o *options) { o.scanTimes = scanTimes{waiting, scanning, syncing} }
}

// WithClock sets the clock of signatures and scans. Latency and slow responses use real time.
func WithClock(now func() time.Time) Option {
	return func(o *options) { o.now = now }
}
