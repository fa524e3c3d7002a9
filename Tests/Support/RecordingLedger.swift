// A ledger of facts that keeps them in memory, for assertions.

public import PosternMail
import Synchronization

public final class RecordingLedger: FactLedger {
    private let rows = Mutex<[MessageFacts]>([])

    public init() {}
    public func append(_ facts: MessageFacts) { rows.withLock { $0.append(facts) } }

    /// In the order in which they were appended.
    public var facts: [MessageFacts] { rows.withLock { $0 } }
}
