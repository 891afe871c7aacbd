package hsstest

// Names that parameters, rows and faults share.
const (
	fieldNamespace         = "namespace"
	fieldImageName         = "image_name"
	fieldEnterpriseProject = "enterprise_project_id"
)

// The values that the reference lists, for queries and inventory files.

func imageTypes() []string {
	return []string{"private_image", "shared_image", "instance_image", "harbor", "jfrog"}
}

func registryTypes() []string {
	return []string{"SwrPrivate", "SwrShared", "SwrEnterprise", "Harbor", "Jfrog", "Other"}
}

// registryTypeOf is the registry type that an image type implies.
func registryTypeOf(imageType string) string {
	for i, t := range imageTypes() {
		if t == imageType {
			return registryTypes()[i]
		}
	}
	return "Other"
}

func scanStatuses() []string {
	return []string{"unscan", "success", "scanning", "failed", "download_failed", "image_oversized", "waiting_for_scan"}
}

func scanOutcomes() []string {
	return []string{statusSuccess, "failed", "download_failed", "image_oversized"}
}

func severityLevels() []string { return []string{"Security", "Low", "Medium", "High"} }

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

func repairNecessities() []string {
	return []string{"immediate_repair", "delay_repair", "not_needed_repair"}
}

func registryStatuses() []string { return []string{statusSuccess, "fail", "accessing"} }

func vulnerabilityTypes() []string { return []string{"linux_vul", "app_vul"} }
