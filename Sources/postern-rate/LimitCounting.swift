// What limits have counted, between this host's own memory and the shared store, and how both are: what `postern store`
// asks. Each cell becomes the greater of both, so that a copy may be begun anew, and go on anywhere.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternStore

struct LimitCounting: Sendable {
    let ledger: any LimitLedger
    /// Whether a limit is in force.
    let isUsed: Bool
    let now: @Sendable () -> UnixTime

    /// - Throws: where there is no shared store.
    func copy(_ command: ControlCommand) throws(ControlRefusal) -> ControlFeed {
        guard let shared = ledger as? SharedLimits else { throw ControlRefusal(StoreCopy.withoutStore) }
        let direction = try StoreDirection(command)
        guard isUsed else { return .pages { (_: String?) in ([StoreCopy.unused("limits")], nil) } }
        let start = try command.textIfAny("after")
        let own = shared.ownLedger
        let (from, to): (any LimitCopying, any LimitCopying) =
            direction == .toShared ? (own, shared) : (shared, own)
        let now = now
        return .pages { (cursor: String?) in
            do throws(LimitUnavailable) {
                let page = try from.rows(after: cursor ?? start, atMost: StoreCopy.pageRows, now: now())
                let copied = page.rows.isEmpty ? 0 : try to.merge(page, now: now())
                return ([StoreCopy.page(looked: page.rows.count, copied: copied, next: page.next)], page.next)
            } catch {
                return ([["error": .text("\(error)")]], nil)
            }
        }
    }

    var stats: ControlDocument {
        guard isUsed else { return StoreCopy.unused("limits") }
        func counted(_ ledger: any LimitLedger) -> ControlDocument {
            do throws(LimitUnavailable) {
                let counts = try ledger.counts()
                return ["keys": .number(counts.keys), "evicted": .number(counts.evicted)]
            } catch {
                return ["error": .text("\(error)")]
            }
        }
        guard let shared = ledger as? SharedLimits else {
            return StoreCopy.stats(ledger: "limits", store: nil, own: counted(ledger), shared: .null)
        }
        let store = shared.sharedStore
        // Counting a shared store's keys would be dear: postern limit list shows them.
        return StoreCopy.stats(
            ledger: "limits",
            store: StoreCopy.Standing(
                url: "\(store.url)", isWorking: store.isWorking, outages: store.outages,
                connections: store.connections, waiting: shared.waiting),
            own: counted(shared.ownLedger), shared: .null)
    }
}
