// What subcommands want of a daemon's answer: one object, one of its members, or a list that is written while it comes;
// or else why there is none.

internal import PosternDaemon

extension DaemonControl {
    /// One object that a daemon answers with, or why there is none.
    func document(of daemon: DaemonName, _ command: ControlCommand) throws(CommandFailure) -> ControlDocument {
        try taken(ask(daemon, command), of: daemon)
    }

    /// The only object of an answer that takes its time.
    /// - Parameter silence: longest wait for it.
    func lateDocument(
        of daemon: DaemonName, _ command: ControlCommand, silence: Duration
    ) throws(CommandFailure) -> ControlDocument {
        var found: ControlDocument?
        let answer = read(daemon, command, silence: silence) { document in
            found = document
            return true
        }
        _ = try taken(answer, of: daemon)
        guard let found else { throw failure("\(daemon.rawValue): expected an answer, found none") }
        return found
    }

    /// What a daemon was asked for, if it has answered.
    func taken(_ answer: DaemonAnswer, of daemon: DaemonName) throws(CommandFailure) -> ControlDocument {
        switch answer {
        case .document(let document): return document
        case .notRunning: throw failure("\(daemon.rawValue) does not run")
        case .failed(let text): throw failure("\(daemon.rawValue): \(text)")
        }
    }

    /// A failure with what was to be told before.
    func failure(_ text: String) -> CommandFailure {
        var failure = CommandFailure(.unavailable, text)
        failure.notes = notes
        return failure
    }

    // MARK: Members

    /// A number that an answer must have.
    /// - Parameter what: it counts, in the plural.
    func number(
        _ key: String, of what: String, in document: ControlDocument, of daemon: DaemonName
    ) throws(CommandFailure) -> Int {
        guard let number = document[key]?.number else { throw unexpected("a number of \(what)", of: daemon) }
        return Int(number)
    }

    /// An answer lacks what it must have.
    func unexpected(_ expected: String, of daemon: DaemonName) -> CommandFailure {
        failure("\(daemon.rawValue): expected \(expected), found something else")
    }

    // MARK: Lists

    /// Writes a list while it comes: as a table, or as one JSON object `{"entries":[…],"complete":true}`. What breaks off
    /// is a failure, and no whole table or object.
    ///
    /// - Parameter row: an entry's cells, below `head`.
    /// - Returns: what is left to be told.
    func list(
        of daemon: DaemonName, _ command: ControlCommand, _ wanted: ListArguments, as options: GlobalOptions,
        in surroundings: Surroundings, head: [String], row: (ControlDocument) -> [String]
    ) throws(CommandFailure) -> CommandOutput {
        var page = options.json ? ListPage.json : .table([head])
        var columns = Columns()
        var count = 0
        var isCut = false
        var trouble: CommandFailure?
        let answer = read(daemon, command) { document in
            isCut = count >= wanted.limit
            guard !isCut else { return false }
            page.add(document, isFirst: count == 0, row)
            count += 1
            guard page.isFull else { return true }
            do throws(CommandFailure) { try surroundings.write(page.take(&columns)) } catch { trouble = error }
            return trouble == nil
        }
        if let trouble { throw trouble }
        _ = try taken(answer, of: daemon)
        page.end(isEmpty: count == 0, isCut: isCut)
        try surroundings.write(page.take(&columns))
        let cut = "note: there are more than \(wanted.limit) entries; --limit shows more"
        return CommandOutput(notes: notes + (isCut ? [cut] : []))
    }
}

/// Entries of a list that are not written yet.
private struct ListPage {
    private var rows: [[String]] = []
    private var octets: [UInt8] = []
    private let isJSON: Bool
    private var count = 0

    /// As a daemon sends them.
    private static let maxEntries = 200

    static var json: ListPage { ListPage(isJSON: true, rows: []) }
    static func table(_ rows: [[String]]) -> ListPage { ListPage(isJSON: false, rows: rows) }

    private init(isJSON: Bool, rows: [[String]]) {
        self.isJSON = isJSON
        self.rows = rows
    }

    var isFull: Bool { count >= Self.maxEntries }

    mutating func add(_ entry: ControlDocument, isFirst: Bool, _ row: (ControlDocument) -> [String]) {
        count += 1
        guard isJSON else {
            rows.append(row(entry))
            return
        }
        octets += (isFirst ? #"{"entries":["# : ",").utf8
        octets += "\(JSONValue(entry))".utf8
    }

    mutating func end(isEmpty: Bool, isCut: Bool) {
        guard isJSON else { return }
        octets += "\(isEmpty ? #"{"entries":["# : "")],\"complete\":\(!isCut)}\n".utf8
    }

    mutating func take(_ columns: inout Columns) -> [UInt8] {
        defer { (rows, octets, count) = ([], [], 0) }
        return isJSON ? octets : columns.lines(rows).flatMap { Array("\($0)\n".utf8) }
    }
}
