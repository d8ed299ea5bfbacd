package check

// balancingRules are about any manifests: whether calls reach their servers, and who
// chooses a server for each.
var balancingRules = []Rule{
	kustomizeBuildRule,
	strictFieldsRule,

	clientTargetRule,
	clientPolicyRule,
	serviceKindRule,
	clusterIPRule,
	meshProtocolRule,
	meshBypassRule,
	xdsAgentRule,
	envoyUpstreamRule,
	envoyDiscoveryRule,
	envoyProtocolRule,
	grpcRouteRule,
	certificateNameRule,
	sessionAffinityRule,
	trafficPolicyRule,
	notReadyAddressesRule,
	readinessRule,
	disruptionBudgetRule,
	destinationSubsetRule,
	autoscalerPinnedRule,
	networkPolicyRule,

	variableRule,
	serviceTargetPortRule,
	probePortRule,
	replicasRule,
	autoscalerTargetRule,
	resourceLimitsRule,
}
