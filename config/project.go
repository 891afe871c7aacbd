package config

import "time"

// Project is one HSS project in one region.
type Project struct {
	// Name is what registries call the project: lower-case letters, digits
	// and dashes, at most 63.
	Name string `yaml:"name"`
	// Region is the project's region, such as cn-north-4. It may be left out if
	// endpoint and projectID are given.
	Region string `yaml:"region"`
	// Endpoint is the https:// address of HSS, if the region's own will not do.
	Endpoint string `yaml:"endpoint"`
	// Insecure allows an http:// endpoint that is not on this host: whoever
	// is on the way can read and forge HSS's answers.
	Insecure bool `yaml:"insecure"`
	// ProjectID is the project's ID, which the cloud console shows below My
	// Credentials. Left out, it is that of the credentials or, as for most of
	// them, the one that IAM lists for the region, which needs the permission
	// iam:projects:listProjects.
	ProjectID string `yaml:"projectID"`
	// EnterpriseProjectID is the enterprise project to ask for, 1 to 256
	// characters: all_granted_eps is every one, 0 is only the default one.
	EnterpriseProjectID string `yaml:"enterpriseProjectID"`
	// Credentials say where the keys or the token come from.
	Credentials Credentials `yaml:"credentials"`
	// CAFile holds PEM certificates to trust in place of the system's, for HSS
	// and IAM.
	CAFile string `yaml:"caFile"`
	// RequestsPerSecond bounds the calls to HSS, above 0 and up to 1000. The
	// API gateway allows 200 calls a second by default.
	RequestsPerSecond float64 `yaml:"requestsPerSecond"`
	// Burst is how many calls may go out at once after a pause, from 1 to
	// 1000.
	Burst int `yaml:"burst"`
	// MaxConcurrent bounds the calls under way at one time, from 1 to 1000.
	// Keys that HSS has not accepted yet are tried one call at a time, since
	// several that fail in a row lock the key.
	MaxConcurrent int `yaml:"maxConcurrent"`
	// BackgroundPercent is the part of requestsPerSecond and maxConcurrent
	// that refreshing and synchronising may take, from 1 to 100. Admissions
	// come first all the same.
	BackgroundPercent int `yaml:"backgroundPercent"`
	// MaxWaiting bounds the images that wait for their turn to be asked for,
	// from 1 to 100000. Past it, an image that is not known is unavailable at
	// once.
	MaxWaiting int `yaml:"maxWaiting"`
	// RequestTimeout bounds one call to HSS, from 100ms to 5m.
	RequestTimeout Duration `yaml:"requestTimeout"`
	// LookupTimeout bounds all that is done to learn of one image, with every
	// page and every retry: at least requestTimeout, up to 10m.
	LookupTimeout Duration `yaml:"lookupTimeout"`
	// VulnerabilityDetails says whether HSS is asked for the vulnerabilities of
	// an image that fails by their number or by its severity level: for what
	// policies and exceptions say of single ones, and to name the worst. It costs
	// a call or more for such an image. Without it, the numbers decide.
	VulnerabilityDetails bool `yaml:"vulnerabilityDetails"`
	// Sync lists the whole project ahead of any request.
	Sync Sync `yaml:"sync"`
	// ScanOnDemand asks HSS to scan images that pods need.
	ScanOnDemand ScanOnDemand `yaml:"scanOnDemand"`
}

// ScanOnDemand asks HSS to scan the images of pods that are refused, or warned
// of, because HSS has not scanned them, and to synchronise their registry if
// HSS does not know them. It is off by default, since each scan costs money.
// Requests that are only tried (dry run) ask for nothing, and neither does
// hssgate while dryRun is true.
type ScanOnDemand struct {
	// Enabled switches it on.
	Enabled bool `yaml:"enabled"`
	// MaxPerHour is how many images HSS is asked to scan in an hour, by all
	// replicas together, from 1 to maxPerDay.
	MaxPerHour int `yaml:"maxPerHour"`
	// MaxPerDay is the same for a day, up to 1000.
	MaxPerDay int `yaml:"maxPerDay"`
	// RepeatAfter is how long HSS is not asked again to scan the same digest,
	// from 10m to 720h, also if the scan failed.
	RepeatAfter Duration `yaml:"repeatAfter"`
	// SyncInterval is the least time between two synchronisations of one
	// registry, from 1m to 24h.
	SyncInterval Duration `yaml:"syncInterval"`
}

// Sync lists the whole project ahead of any request, 200 images a call, and
// then asks for what changed. An image that is named by tag, with a digest or
// without, then costs no call. It suits clusters that use a good part of the
// project's images; where a few of very many are used, the calls are wasted.
// Every replica synchronises for itself.
type Sync struct {
	// Enabled switches it on.
	Enabled bool `yaml:"enabled"`
	// FullInterval is how often everything is listed anew, which is when
	// deletions show, from 5m to 24h. What the whole list did not confirm for
	// twice as long is asked for singly again.
	FullInterval Duration `yaml:"fullInterval"`
	// Interval is how often HSS is asked for what changed, from 5s to
	// fullInterval. Up to then an answer is used without asking again; with
	// more than freshFor, most images are asked for singly after all.
	Interval Duration `yaml:"interval"`
	// Overlap is how far back each question for changes reaches behind the
	// last, at least lookupTimeout, up to 24h: clocks differ, and rows show
	// late.
	Overlap Duration `yaml:"overlap"`
}

// Credential sources.
const (
	// SourceDefault tries Environment, Profile, PodIdentity and Metadata in turn.
	SourceDefault = "Default"
	// SourceEnvironment reads HUAWEICLOUD_SDK_AK and its siblings.
	SourceEnvironment = "Environment"
	// SourceProfile reads a profile file.
	SourceProfile = "Profile"
	// SourceFiles reads one file for each key, as a mounted secret has them.
	SourceFiles = "Files"
	// SourceMetadata asks the node's metadata service.
	SourceMetadata = "Metadata"
	// SourcePodIdentity asks CCE's pod identity agent.
	SourcePodIdentity = "PodIdentity"
	// SourceTokenFile reads an X-Auth-Token from a file.
	SourceTokenFile = "TokenFile"
	// SourceTokenEnvironment reads an X-Auth-Token from the environment.
	SourceTokenEnvironment = "TokenEnvironment"
)

func sources() []string {
	return []string{
		SourceDefault, SourceEnvironment, SourceProfile, SourceFiles,
		SourceMetadata, SourcePodIdentity, SourceTokenFile, SourceTokenEnvironment,
	}
}

// Credentials say where the keys or the token come from. They never hold them.
type Credentials struct {
	// Source is where to look. Default: the environment, the profile file, the
	// pod's identity and the node's agency, whichever is there first.
	// Environment: HUAWEICLOUD_SDK_AK, _SK, _SECURITY_TOKEN and _PROJECT_ID.
	// Profile: profileFile. Files: accessKeyFile, secretKeyFile and
	// securityTokenFile. Metadata: the node's agency. PodIdentity: CCE's pod
	// identity. TokenFile: tokenFile. TokenEnvironment: tokenVariable.
	Source string `yaml:"source"`
	// AccessKeyFile holds the access key, for source Files. Files are re-read
	// when they change.
	AccessKeyFile string `yaml:"accessKeyFile"`
	// SecretKeyFile holds the secret key, for source Files.
	SecretKeyFile string `yaml:"secretKeyFile"`
	// SecurityTokenFile holds the security token of temporary keys, for
	// source Files. May be left out.
	SecurityTokenFile string `yaml:"securityTokenFile"`
	// ProfileFile is the profile file, for source Profile. Left out, it is
	// $HUAWEICLOUD_SDK_CREDENTIALS_FILE or ~/.huaweicloud/credentials.
	ProfileFile string `yaml:"profileFile"`
	// TokenFile holds an X-Auth-Token, for source TokenFile.
	TokenFile string `yaml:"tokenFile"`
	// TokenVariable is the environment variable that holds an X-Auth-Token,
	// for source TokenEnvironment.
	TokenVariable string `yaml:"tokenVariable"`
}

// DefaultProject returns what a project of the file starts from.
func DefaultProject() Project {
	p := Project{}
	p.setDefaults()
	return p
}

func (p *Project) setDefaults() {
	*p = Project{
		EnterpriseProjectID: "all_granted_eps",
		Credentials:         Credentials{Source: SourceDefault},
		RequestsPerSecond:   20,
		Burst:               40,
		MaxConcurrent:       16,
		BackgroundPercent:   30,
		MaxWaiting:          1000,
		RequestTimeout:      Duration(10 * time.Second),
		LookupTimeout:       Duration(30 * time.Second),

		VulnerabilityDetails: true,
		Sync: Sync{
			FullInterval: Duration(time.Hour),
			Interval:     Duration(time.Minute),
			Overlap:      Duration(15 * time.Minute),
		},
		ScanOnDemand: ScanOnDemand{
			MaxPerHour:   20,
			MaxPerDay:    100,
			RepeatAfter:  Duration(24 * time.Hour),
			SyncInterval: Duration(10 * time.Minute),
		},
	}
}
