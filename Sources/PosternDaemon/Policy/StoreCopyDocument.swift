// `store copy` and `store stats` of the control socket, which postern-policy and postern-rate answer for what each of them
// remembers: how far a copy between this host's own ledger and the shared one has come, page by page, and how both are.

/// Which way a copy goes.
public enum StoreDirection: String, Hashable, Sendable, CaseIterable {
    case toShared = "to_shared"
    case toOwn = "to_own"

    /// `{"command":"store copy","direction":"to_shared","after":CURSOR}`.
    public init(_ command: ControlCommand) throws(ControlRefusal) {
        guard let direction = StoreDirection(rawValue: try command.text("direction")) else {
            throw ControlRefusal("direction: expected to_shared or to_own, found another text")
        }
        self = direction
    }
}

public enum StoreCopy {
    /// Rows of one page.
    public static let pageRows = 500
    /// Why there is nothing to copy.
    public static let withoutStore = "expected store.url in the configuration that I started with, found none"

    /// One page that was copied.
    /// - Parameter looked: rows that it had.
    /// - Parameter copied: those that added something.
    /// - Parameter next: what stands behind it; nil at the end.
    public static func page(looked: Int, copied: Int, next: String?) -> ControlDocument {
        ["looked": .number(looked), "copied": .number(copied), "next": next.map(ControlDocument.text) ?? .null]
    }

    /// How the shared store is.
    public struct Standing: Sendable {
        let url: String
        let isWorking: Bool
        let outages: UInt64
        let connections: Int
        /// What it is to be told of yet.
        let waiting: Int

        public init(url: String, isWorking: Bool, outages: UInt64, connections: Int, waiting: Int) {
            self.url = url
            self.isWorking = isWorking
            self.outages = outages
            self.connections = connections
            self.waiting = waiting
        }
    }

    /// - Parameter store: nil where each host remembers for itself.
    public static func stats(
        ledger: String, store: Standing?, own: ControlDocument, shared: ControlDocument
    ) -> ControlDocument {
        [
            "ledger": .text(ledger), "in_use": .boolean(true),
            "store": store.map { store in
                [
                    "url": .text(store.url), "working": .boolean(store.isWorking),
                    "outages": .number(Int64(clamping: store.outages)), "connections": .number(store.connections),
                    "waiting": .number(store.waiting),
                ]
            } ?? .null,
            "own": own, "shared": shared,
        ]
    }

    /// Of a ledger that the configuration in force keeps nothing in: nobody has looked for its store.
    public static func unused(_ ledger: String) -> ControlDocument {
        ["ledger": .text(ledger), "in_use": .boolean(false), "store": .null, "own": .null, "shared": .null]
    }
}
