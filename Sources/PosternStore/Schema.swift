// What a ledger's file must look like, and how older ones are brought there: application_id says whose file it is,
// user_version how many of the steps it has seen (sqlite.org/pragma.html#pragma_application_id).

struct Schema: Sendable {
    /// Four letters that `file` and a curious admin see in the header.
    let applicationID: Int32
    /// Each brings the file from one version to the next; the first makes it. Once released they never change.
    let steps: [String]

    /// A larger file is not read through when it is opened: greylisting would wait for it for minutes. What is wrong
    /// with it shows when that page is read.
    static let maxCheckedOctets: Int64 = 32 << 20

    /// Checks the file, and brings it up to date.
    func apply(to database: Database) throws(DatabaseError) {
        let owner = try database.integer("PRAGMA application_id") ?? 0
        let version = try database.integer("PRAGMA user_version") ?? 0
        let pages = try database.integer("PRAGMA page_count") ?? 0
        let isNew = pages <= 1 && owner == 0 && version == 0
        guard isNew || owner == Int64(applicationID) else {
            throw DatabaseError(.damaged, "expected a file of ours, found application id \(owner)", operation: "open")
        }
        guard (0...Int64(steps.count)).contains(version) else {
            throw DatabaseError(
                .damaged, "expected version \(steps.count) at most, found \(version): a newer Postern's file",
                operation: "open")
        }
        if !isNew, pages * Int64(Database.pageOctets) <= Self.maxCheckedOctets { try quickCheck(database) }
        guard version < steps.count else { return }
        try database.transaction { () throws(DatabaseError) in
            for step in steps.dropFirst(Int(version)) { try database.execute(step) }
            try database.execute("PRAGMA application_id=\(applicationID)")
            try database.execute("PRAGMA user_version=\(steps.count)")
        }
    }

    private func quickCheck(_ database: Database) throws(DatabaseError) {
        var report = "no word"
        try database.run("PRAGMA quick_check(1)") { row in report = row.text(0) }
        guard report == "ok" else { throw DatabaseError(.damaged, report.oneLine, operation: "check") }
    }
}

extension String {
    /// For the log: SQLite quotes what it finds in a damaged file.
    var oneLine: String {
        String(decoding: utf8.prefix(200).map { (0x20..<0x7F).contains($0) ? $0 : 0x3F }, as: UTF8.self)
    }
}
