// What a daemon's control socket can be asked beside `status` and `reload`, and how a daemon answers: by one document,
// or by many that are made while the client reads them. A request is one line: a word, or a JSON object whose member
// `command` is the word and whose other members are its arguments:
//
//     {"command":"limit show","limit":"per account","key":"ann"}
//
// Root and the daemon's own user are the only ones who are answered; their arguments are checked all the same.

/// A request of the control socket.
public struct ControlCommand: Hashable, Sendable {
    /// One word or several, as the command line has them: `dns flush`.
    public let name: String
    private let arguments: [ControlDocument.Member]

    /// - Parameter arguments: an object; what is null in it is as if it were not there.
    public init(_ name: String, _ arguments: ControlDocument = [:]) {
        self.name = name
        self.arguments = arguments.members.filter { $0.value != .null }
    }

    /// - Parameter line: what came, without its line end.
    /// - Throws: when it begins as an object does and is none, or names no command.
    init(line: String) throws(ControlRefusal) {
        guard line.utf8.first == UInt8(ascii: "{") else {
            self.init(line)
            return
        }
        let document: ControlDocument
        do throws(ControlDocumentError) { document = try ControlDocument(Array(line.utf8)) } catch {
            throw ControlRefusal("\(error)")
        }
        guard let name = document[Self.nameKey]?.text else {
            throw ControlRefusal("expected the member \(Self.nameKey), found none that is a text")
        }
        self.init(name, .object(document.members.filter { $0.key != Self.nameKey }))
    }

    private static let nameKey = "command"

    /// The request as it is sent, without its line end; a word without arguments is itself.
    public var line: String {
        let isPlain = arguments.isEmpty && name.utf8.first != UInt8(ascii: "{") && name.utf8.allSatisfy { $0 >= 0x20 }
        return isPlain ? name : "\(ControlDocument.object([.init(Self.nameKey, .text(name))] + arguments))"
    }

    // MARK: Arguments

    /// An argument; nil where there is none.
    public subscript(_ key: String) -> ControlDocument? { arguments.first { $0.key == key }?.value }

    /// An argument that must be there.
    public func text(_ key: String) throws(ControlRefusal) -> String {
        guard let text = try textIfAny(key) else { throw ControlRefusal("expected the argument \(key), found none") }
        return text
    }

    /// - Returns: nil where there is none.
    public func textIfAny(_ key: String) throws(ControlRefusal) -> String? {
        guard let value = self[key] else { return nil }
        guard let text = value.text else { throw ControlRefusal("\(key): expected a text, found another value") }
        return text
    }

    /// - Parameter fallback: what holds where there is none.
    public func number(
        _ key: String, in bounds: ClosedRange<Int64>, default fallback: Int64
    ) throws(ControlRefusal) -> Int64 {
        guard let value = self[key] else { return fallback }
        guard let number = value.number, bounds.contains(number) else {
            throw ControlRefusal(
                "\(key): expected a number from \(bounds.lowerBound) to \(bounds.upperBound), found another value")
        }
        return number
    }

    /// - Returns: false where there is none.
    public func flag(_ key: String) throws(ControlRefusal) -> Bool {
        switch self[key] {
        case nil: return false
        case .boolean(let flag)?: return flag
        default: throw ControlRefusal("\(key): expected true or false, found another value")
        }
    }
}

/// Why a command was not carried out: what was expected, what came.
public struct ControlRefusal: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// What a command is answered with.
public enum ControlAnswer: Sendable {
    /// One object, small enough to be made at once.
    case document(ControlDocument)
    /// Objects that come little by little, each on a line of its own: a long list, or what is still to happen. After
    /// the last comes `ControlAnswer.completed`, so that a list that was cut off is not taken for a whole one.
    case documents(ControlFeed)

    /// The last line of `documents`.
    public static let completed: ControlDocument = ["complete": .boolean(true)]
}

/// Where the objects of an answer come from.
public struct ControlFeed: Sendable {
    public enum Part: Sendable {
        /// Some more; a page, so that memory is bounded and others are served meanwhile.
        case documents([ControlDocument])
        /// None yet; it is asked again in a moment. For events, and for what another thread is still finding out.
        case nothingYet
        /// That was all.
        case end
    }

    let next: @Sendable () -> Part
    let ended: @Sendable () -> Void

    /// - Parameter next: called by the control socket's thread whenever the client has taken what it was sent, so that a
    ///   slow client slows down nobody but itself. It must not wait: all clients of the socket are served by that thread.
    /// - Parameter ended: called once, when no more is wanted: after `.end`, or when the client has gone.
    public init(ended: @escaping @Sendable () -> Void = {}, next: @escaping @Sendable () -> Part) {
        self.next = next
        self.ended = ended
    }

    /// The next part, for who reads a feed without a socket.
    public func nextPart() -> Part { next() }

    /// Wants no more, likewise.
    public func close() { ended() }

    /// The pages of something in order, each made when it is wanted.
    /// - Parameter page: the objects that stand behind `cursor` (nil: from the beginning), and where the next page begins;
    ///   nil behind the last.
    public static func pages<Cursor: Sendable>(
        _ page: @escaping @Sendable (_ cursor: Cursor?) -> (documents: [ControlDocument], next: Cursor?)
    ) -> ControlFeed {
        let place = Snapshot<PagePlace<Cursor>>(.at(nil))
        return ControlFeed {
            guard case .at(let cursor) = place.current else { return .end }
            let (documents, next) = page(cursor)
            place.replace(by: next.map { .at($0) } ?? .end)
            return .documents(documents)
        }
    }

    private enum PagePlace<Cursor: Sendable>: Sendable {
        case at(Cursor?)
        case end
    }
}
