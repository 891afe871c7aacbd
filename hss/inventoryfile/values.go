package inventoryfile

// Names of fields that rows and faults share.
const (
	fieldNamespace = "namespace"
	fieldImageName = "image_name"
)

// ImageTypes returns the image types that the reference lists.
func ImageTypes() []string {
	return []string{"private_image", "shared_image", "instance_image", "harbor", "jfrog"}
}

// RegistryTypes returns the registry types that the reference lists.
func RegistryTypes() []string {
	return []string{"SwrPrivate", "SwrShared", "SwrEnterprise", "Harbor", "Jfrog", "Other"}
}

// registryTypeOf returns the registry type that an image type implies.
func registryTypeOf(imageType string) string {
	for i, t := range ImageTypes() {
		if t == imageType {
			return RegistryTypes()[i]
		}
	}
	return "Other"
}

// ScanStatuses returns the scan statuses that the reference lists.
func ScanStatuses() []string {
	return []string{"unscan", "success", "scanning", "failed", "download_failed", "image_oversized", "waiting_for_scan"}
}

func scanOutcomes() []string {
	return []string{"success", "failed", "download_failed", "image_oversized"}
}

// SeverityLevels returns the severity levels that the reference lists.
func SeverityLevels() []string { return []string{"Security", "Low", "Medium", "High"} }

func sharedStatuses() []string { return []string{"expired", "effective"} }

func scanFailedCodes() []string {
	return []string{
		"unknown_error", "authentication_failed", "download_failed", "image_over_sized", "get_detail_info_not_found",
		"image_layer_over_sized", "schema_v1_not_support", "access_swr_failed", "swr_authentication_error",
		"failed_to_scan_vulnerability", "failed_to_scan_file", "failed_to_scan_software",
		"failed_to_check_sensitive_information", "failed_to_check_baseline", "failed_to_check_software_compliance",
		"failed_to_query_basic_image_information", "failed_to_check_build_cmd", "response_timed_out",
		"database_error", "failed_to_send_the_scan_request",
	}
}

// RepairNecessities returns the values of repair_necessity that the reference lists.
func RepairNecessities() []string {
	return []string{"immediate_repair", "delay_repair", "not_needed_repair"}
}

// RegistryStatuses returns the statuses of a registry that the reference lists.
func RegistryStatuses() []string { return []string{"success", "fail", "accessing"} }

// VulnerabilityTypes returns the types of vulnerabilities that the reference lists.
func VulnerabilityTypes() []string { return []string{"linux_vul", "app_vul"} }

// Endpoints returns the endpoints that a fault can be limited to.
func Endpoints() []string {
	return []string{"images", "vulnerabilities", "scan", "sync", "registries", "tasks", "projects"}
}

// FaultKinds returns the kinds of faults; see [Fault].
func FaultKinds() []string {
	return []string{"cut", "empty", "error", "garbage", "hang", "html", "huge", "no_data_list", "reset", "slow", "status", "throttle"}
}
