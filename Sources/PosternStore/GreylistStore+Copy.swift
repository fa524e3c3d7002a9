// Rows that come to greylist.sqlite from another ledger, and go to one: copies between stores, and what a shared store
// has told this host's own greylist (SharedGreylist). They go the way of decisions, through memory, so that those which
// are made meanwhile see them.

public import PosternAdmission
public import PosternMail

extension GreylistStore {
    /// Rows that are taken in at once: a millisecond of everybody's time.
    private static let learnRows = 256

    public func adopt(
        _ rows: [GreylistPage.Row], times: GreylistTimes, now: UnixTime
    ) throws(GreylistUnavailable) -> Int {
        let count = try learn(rows, times: times, now: now)
        try flush()
        return count
    }

    /// The same, written when the decisions of the moment are.
    func learn(_ rows: [GreylistPage.Row], times: GreylistTimes, now: UnixTime) throws(GreylistUnavailable) -> Int {
        var count = 0
        var rest = rows[...]
        while !rest.isEmpty {
            let some = rest.prefix(Self.learnRows)
            rest = rest.dropFirst(some.count)
            count += try admin { () throws(DatabaseError) in try learn(some, times, now) }
        }
        writer.wake()
        return count
    }

    private func learn(
        _ rows: ArraySlice<GreylistPage.Row>, _ times: GreylistTimes, _ now: UnixTime
    ) throws(DatabaseError) -> Int {
        if memory.withLock({ $0.isCrowded }) { try writer.flush() }
        return try file.use(isProof: false) { database throws(DatabaseError) in
            try writer.adopt(database)
            guard let hash = memory.withLock({ $0.file?.hash }) else { return 0 }
            var count = 0
            for row in rows {
                let key = GreylistRowKey(row.key, hash: hash)
                if let isNew = memory.withLock({ $0.merge(row, key, times, now: now) }) {
                    count += isNew ? 1 : 0
                    continue
                }
                let found = try GreylistTransaction.find(key, in: database)
                let isNew = memory.withLock { memory in
                    memory.load(key, found.entry, found.place)
                    return memory.merge(row, key, times, now: now)
                }
                count += isNew == true ? 1 : 0
            }
            return count
        }
    }

    /// What is remembered under those of the keys that have something.
    func entries(for keys: [GreylistKey]) throws(GreylistUnavailable) -> [GreylistPage.Row] {
        try inWrittenFile { database throws(DatabaseError) in
            let hash = try GreylistTransaction.state(of: database).hash
            var rows: [GreylistPage.Row] = []
            for key in keys {
                let found = try GreylistTransaction.find(GreylistRowKey(key, hash: hash), in: database)
                if let entry = found.entry { rows.append(GreylistPage.Row(key, entry)) }
            }
            return rows
        }
    }
}
