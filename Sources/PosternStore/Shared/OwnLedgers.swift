// What a host knows alone beside what its fleet shares: for copies from one to the other.

extension SharedGreylist {
    /// This host's own.
    public var ownLedger: GreylistStore { local }
    /// Where the fleet's is.
    public var sharedStore: SharedStore { store }
}

extension SharedLimits {
    /// This host's own.
    public var ownLedger: LimitStore { local }
    /// Where the fleet's is.
    public var sharedStore: SharedStore { store }
}
