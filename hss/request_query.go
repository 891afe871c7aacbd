package hss

import (
	"net/url"
	"strconv"
	"time"
)

// The names of the query's parameters, as the API spells them.
const (
	paramEnterpriseProjectID   = "enterprise_project_id"
	paramNamespace             = "namespace"
	paramImageName             = "image_name"
	paramImageVersion          = "image_version"
	paramRegistryName          = "registry_name"
	paramImageType             = "image_type"
	paramOffset                = "offset"
	paramLimit                 = "limit"
	paramSortKey               = "sort_key"
	paramSortDir               = "sort_dir"
	paramLatestVersion         = "latest_version"
	paramImageSize             = "image_size"
	paramScanStatus            = "scan_status"
	paramStartLatestUpdateTime = "start_latest_update_time"
	paramEndLatestUpdateTime   = "end_latest_update_time"
	paramStartLatestScanTime   = "start_latest_scan_time"
	paramEndLatestScanTime     = "end_latest_scan_time"
	paramStartLatestSyncTime   = "start_latest_sync_time"
	paramEndLatestSyncTime     = "end_latest_sync_time"
	paramHasMaliciousFile      = "has_malicious_file"
	paramHasUnsafeSetting      = "has_unsafe_setting"
	paramHasVulnerability      = "has_vul"
	paramRisky                 = "risky"
	paramMultiArch             = "is_multarch" // not is_multiple_arch, as in the answer
	paramInstanceID            = "instance_id"
	paramInstanceName          = "instance_name"
	paramSeverity              = "severity_level"
	paramTagName               = "tag_name"
	paramNecessity             = "repair_necessity"
	paramGlobalImageType       = "global_image_type"
	paramRegistryID            = "registry_id"
	paramRegistryType          = "registry_type"
	paramRegistryAddress       = "registry_addr"
	paramStatus                = "status"
	paramType                  = "type"
	paramTaskType              = "task_type"
	paramTaskStatus            = "task_status"
	paramTaskID                = "task_id"
)

// Query returns the request's parameters, without those that are not set. It
// does not check them; [ListRequest.Validate] does.
func (r ListRequest) Query() url.Values {
	q := url.Values{}
	for name, value := range r.texts() {
		if value != "" {
			q.Set(name, value)
		}
	}
	for name, value := range r.flags() {
		if value != nil {
			q.Set(name, strconv.FormatBool(*value))
		}
	}
	for _, t := range r.timeRanges() {
		setTime(q, t.startName, t.start)
		setTime(q, t.endName, t.end)
	}
	if r.Offset != 0 {
		q.Set(paramOffset, strconv.Itoa(r.Offset))
	}
	if r.Limit != 0 {
		q.Set(paramLimit, strconv.Itoa(r.Limit))
	}
	if r.ImageSize != nil {
		q.Set(paramImageSize, strconv.FormatInt(*r.ImageSize, 10))
	}
	return q
}

// texts are the parameters that are text.
func (r ListRequest) texts() map[string]string {
	return map[string]string{
		paramEnterpriseProjectID: r.EnterpriseProjectID,
		paramNamespace:           r.Namespace,
		paramImageName:           r.ImageName,
		paramImageVersion:        r.ImageVersion,
		paramRegistryName:        r.RegistryName,
		paramImageType:           string(r.ImageType),
		paramSortKey:             string(r.SortKey),
		paramSortDir:             string(r.SortDir),
		paramScanStatus:          string(r.ScanStatus),
		paramInstanceID:          r.InstanceID,
		paramInstanceName:        r.InstanceName,
		paramSeverity:            string(r.Severity),
	}
}

// flags are the parameters that are true, false or not set.
func (r ListRequest) flags() map[string]*bool {
	return map[string]*bool{
		paramLatestVersion:    r.LatestVersion,
		paramHasMaliciousFile: r.HasMaliciousFile,
		paramHasUnsafeSetting: r.HasUnsafeSetting,
		paramHasVulnerability: r.HasVulnerability,
		paramRisky:            r.Risky,
		paramMultiArch:        r.MultiArch,
	}
}

// timeRange is a pair of parameters that bound a time.
type timeRange struct {
	startName, endName string
	start, end         time.Time
}

// timeRanges are the parameters that are times.
func (r ListRequest) timeRanges() []timeRange {
	return []timeRange{
		{paramStartLatestUpdateTime, paramEndLatestUpdateTime, r.StartLatestUpdateTime, r.EndLatestUpdateTime},
		{paramStartLatestScanTime, paramEndLatestScanTime, r.StartLatestScanTime, r.EndLatestScanTime},
		{paramStartLatestSyncTime, paramEndLatestSyncTime, r.StartLatestSyncTime, r.EndLatestSyncTime},
	}
}

// setTime sets a time in milliseconds, unless it is zero.
func setTime(q url.Values, name string, t time.Time) {
	if !t.IsZero() {
		q.Set(name, strconv.FormatInt(t.UnixMilli(), 10))
	}
}
