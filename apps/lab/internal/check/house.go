package check

// houseRules are this repository's conventions. `lab check --no-house` leaves them out.
var houseRules = []Rule{
	kustomizeWarningRule,
	kustomizeFieldRule,
	patchFormRule,
	entryEffectRule,
	unlistedFileRule,
	imageOnceRule,
	releaseRule,

	namespaceRule,
	componentRule,
	namespaceStringRule,
	selectorRule,
	imagePinnedRule,
	resourceRequestsRule,
	referenceRule,
	servicePortRule,
	probeRule,
	drainGraceRule,
	progressDeadlineRule,
	podSecurityRule,
	rbacRule,
	linkerdConfigRule,
	envoyConfigRule,
	envoyDrainRule,
	xdsInjectionRule,

	pruneConfirmRule,
	argocdStrictRule,
	argocdApplicationsRule,
	argocdApplicationRule,
	argocdProjectRule,
	argocdRootRule,
	argocdKindsRule,
}
