// Greylisting's memory between this host's own file and the shared store, and how both are: what `postern store` asks.
// A copy takes in what is there already (GreylistEntry.merged), so that it may be begun anew, and go on anywhere.

import PosternAdmission
import PosternDaemon
import PosternMail
import PosternStore

struct GreylistCopying: Sendable {
    let greylist: any GreylistLedger
    /// Whether the configuration in force greylists anybody.
    let isUsed: Bool
    let times: GreylistTimes
    let now: @Sendable () -> UnixTime

    /// - Throws: where there is no shared store.
    func copy(_ command: ControlCommand) throws(ControlRefusal) -> ControlFeed {
        guard let shared = greylist as? SharedGreylist else { throw ControlRefusal(StoreCopy.withoutStore) }
        let direction = try StoreDirection(command)
        guard isUsed else { return .pages { (_: String?) in ([StoreCopy.unused("greylist")], nil) } }
        let start = try command.textIfAny("after").map { GreylistCursor(text: $0) }
        let own = shared.ownLedger
        let (from, to): (any GreylistLedger, any GreylistLedger) =
            direction == .toShared ? (own, shared) : (shared, own)
        let (times, now) = (times, now)
        return .pages { cursor in
            do throws(GreylistUnavailable) {
                let page = try from.entries(withPrefix: "", after: cursor ?? start, limit: StoreCopy.pageRows)
                let copied = page.rows.isEmpty ? 0 : try to.adopt(page.rows, times: times, now: now())
                return ([StoreCopy.page(looked: page.rows.count, copied: copied, next: page.next?.text)], page.next)
            } catch {
                return ([["error": .text("\(error)")]], nil)
            }
        }
    }

    var stats: ControlDocument {
        guard isUsed else { return StoreCopy.unused("greylist") }
        func counted(_ ledger: any GreylistLedger) -> ControlDocument {
            do throws(GreylistUnavailable) { return try ledger.counts().document } catch {
                return ["error": .text("\(error)")]
            }
        }
        guard let shared = greylist as? SharedGreylist else {
            return StoreCopy.stats(ledger: "greylist", store: nil, own: counted(greylist), shared: .null)
        }
        let store = shared.sharedStore
        return StoreCopy.stats(
            ledger: "greylist",
            store: StoreCopy.Standing(
                url: "\(store.url)", isWorking: store.isWorking, outages: store.outages,
                connections: store.connections, waiting: shared.waiting),
            own: counted(shared.ownLedger), shared: counted(shared))
    }
}
