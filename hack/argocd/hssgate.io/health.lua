-- Health of ImageScanPolicies, ImageScanExceptions and ClusterImageScanExceptions for Argo CD: docs/gitops.md has it for the ConfigMap argocd-cm.
local health = {status = "Progressing", message = "waiting for hssgate"}
local status = obj.status
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return health
end
for _, c in ipairs(status.conditions) do
  if (c.type == "Ready" or c.type == "Effective") and c.status == "False" then
    return {status = "Degraded", message = c.message}
  elseif c.type == "Ready" and c.status == "True" then
    health.status = "Healthy"
    health.message = ""
  end
end
for _, c in ipairs(status.conditions) do
  if c.type == "HSSReachable" and c.status == "False" or c.type == "Expiring" and c.status == "True" then
    health.message = c.message
  end
end
return health
