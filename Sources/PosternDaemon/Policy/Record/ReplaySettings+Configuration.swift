// A configuration's share of a replay, as postern-policy and postern-rate would have taken it.

public import PosternAdmission

extension ReplaySettings {
    /// - Parameter policy: as postern-policy reads it.
    /// - Parameter rate: as postern-rate does.
    public init(policy: Configuration, rate: Configuration) {
        self.init(
            rules: policy.rules, lists: policy.dnsbl, greylist: policy.mayGreylist ? policy.greylist : nil,
            limits: rate.limits, origin: policy.host.origin, isShadow: policy.host.shadow)
    }
}
