// The octets of limits.journal: what limits have counted, as rows that each say all of one key, so that a later row takes
// the place of an earlier one, and a copy may be made while they change. Reading is pure, and survives any octets.
//
//     "PSTNLIM1", then frames: length of the payload (32 bits), its CRC-32C, the payload; numbers little-endian.
//     payload: the ledger's time, the wall clock's (milliseconds), then records until its end:
//       1 shape: name, per, count, window, wide, spans. It is numbered from 0 in its file.
//       2 row: shape's number, key, last, blocked until, by an admin; its words that are not 0, each with its distance.
//
// Frames, numbers and texts are FramedOctets'.

import PosternAdmission
import PosternMail

enum LimitJournalFormat {
    static let magic = Array("PSTNLIM1".utf8)
    /// Longest payload: a page of rows is far shorter.
    static let maxPayload = 1 << 20
    /// A payload is ended when it is so long, so that none becomes too long.
    static let fullPayload = 1 << 18

    /// Where a number stands for a case.
    static func code<Value: CaseIterable & Equatable>(_ value: Value) -> UInt64 {
        UInt64(Value.allCases.prefix { $0 != value }.count)
    }

    static func value<Value: CaseIterable>(_ code: UInt64) -> Value? {
        Int(exactly: code).flatMap { Value.allCases.dropFirst($0).first }
    }
}

/// Writes frames of one file, which begins with the first.
struct LimitJournalWriter {
    private var shapes: [LimitShape: Int] = [:]

    /// Rows as frames, one at least.
    ///
    /// - Parameter time: the ledger's; no row is later.
    mutating func frames(_ rows: some Sequence<LimitRow>, time: Int64, wall: UnixTime) -> [UInt8] {
        var octets: [UInt8] = []
        var payload = Self.head(time, wall)
        for row in rows {
            let number: Int
            if let known = shapes[row.shape] {
                number = known
            } else {
                number = shapes.count
                shapes[row.shape] = number
                Self.append(row.shape, to: &payload)
            }
            Self.append(row, number, to: &payload)
            if payload.count >= LimitJournalFormat.fullPayload {
                Self.append(frame: payload, to: &octets)
                payload = Self.head(time, wall)
            }
        }
        Self.append(frame: payload, to: &octets)
        return octets
    }

    private static func head(_ time: Int64, _ wall: UnixTime) -> [UInt8] {
        var payload: [UInt8] = []
        FramedOctets.append(UInt64(clamping: time), to: &payload)
        FramedOctets.append(UInt64(clamping: wall.nanoseconds / 1_000_000), to: &payload)
        return payload
    }

    private static func append(frame payload: [UInt8], to octets: inout [UInt8]) {
        precondition(payload.count <= LimitJournalFormat.maxPayload, "a row is far shorter than a frame may be")
        FramedOctets.append(frame: payload, to: &octets)
    }

    private static func append(_ shape: LimitShape, to payload: inout [UInt8]) {
        payload.append(1)
        FramedOctets.append(text: shape.name.utf8, atMost: LimitJournalReader.maxName, to: &payload)
        FramedOctets.append(text: shape.per.utf8, atMost: LimitJournalReader.maxName, to: &payload)
        FramedOctets.append(LimitJournalFormat.code(shape.count), to: &payload)
        FramedOctets.append(LimitJournalFormat.code(shape.window), to: &payload)
        payload.append(shape.isWide ? 1 : 0)
        FramedOctets.append(UInt64(shape.spans.count), to: &payload)
        for span in shape.spans { FramedOctets.append(UInt64(clamping: span), to: &payload) }
    }

    private static func append(_ row: LimitRow, _ shape: Int, to payload: inout [UInt8]) {
        payload.append(2)
        FramedOctets.append(UInt64(shape), to: &payload)
        FramedOctets.append(text: row.key.octets, atMost: .max, to: &payload)
        FramedOctets.append(UInt64(clamping: row.last), to: &payload)
        FramedOctets.append(UInt64(clamping: row.blockedUntil), to: &payload)
        payload.append(row.isBlockedByAdmin ? 1 : 0)
        FramedOctets.append(UInt64(row.words.count { $0 != 0 }), to: &payload)
        var distance: UInt64 = 0
        for word in row.words {
            if word == 0 {
                distance += 1
            } else {
                FramedOctets.append(distance, to: &payload)
                FramedOctets.append(UInt64(word), to: &payload)
                distance = 0
            }
        }
    }
}

/// Reads a file in pieces, from its start.
struct LimitJournalReader {
    /// Octets of a limit's name and of its attributes.
    static let maxName = 1024
    /// Limits of one file, through all changes of the configuration since it was begun.
    private static let maxShapes = 10_000

    /// Of the last frame that was read, in milliseconds.
    private(set) var time: Int64?
    private(set) var wall: Int64 = 0
    /// Octets from the start of the file that are in order.
    private(set) var validOctets = 0
    /// Something is not in order; nothing behind it is read.
    private(set) var isDamaged = false

    private var shapes: [LimitShape] = []
    private var pending: [UInt8] = []

    /// Hands over the rows of whole frames.
    mutating func read(_ octets: some Sequence<UInt8>, _ body: ([LimitRow]) -> Void) {
        guard !isDamaged else { return }
        pending += octets
        var rest = pending[...]
        if validOctets == 0 {
            guard rest.count >= LimitJournalFormat.magic.count else {
                isDamaged = !LimitJournalFormat.magic.starts(with: rest)
                return
            }
            guard rest.starts(with: LimitJournalFormat.magic) else {
                isDamaged = true
                return
            }
            rest = rest.dropFirst(LimitJournalFormat.magic.count)
            validOctets = LimitJournalFormat.magic.count
        }
        while true {
            switch FramedOctets.frame(&rest, atMost: LimitJournalFormat.maxPayload) {
            case .whole(let payload, isIntact: true):
                guard let rows = rows(of: payload) else {
                    isDamaged = true
                    return
                }
                body(rows)
                validOctets += FramedOctets.frameHead + payload.count
            case .whole, .tooLong:
                isDamaged = true
                return
            case .cut:
                pending = Array(rest)
                return
            }
        }
    }

    /// Whether the file ends within a frame, after all of it was read.
    var isCut: Bool { isDamaged || !pending.isEmpty }

    /// - Returns: nil where it is no payload; then nothing of it counts.
    private mutating func rows(of payload: ArraySlice<UInt8>) -> [LimitRow]? {
        var rest = payload
        guard let time = Self.milliseconds(&rest), let wall = Self.milliseconds(&rest) else { return nil }
        var rows: [LimitRow] = []
        var shapes = shapes
        while let kind = rest.popFirst() {
            switch kind {
            case 1:
                guard shapes.count < Self.maxShapes, let shape = Self.shape(&rest) else { return nil }
                shapes.append(shape)
            case 2:
                guard let row = Self.row(&rest, shapes), row.last <= time else { return nil }
                rows.append(row)
            default: return nil
            }
        }
        self.shapes = shapes
        self.time = time
        self.wall = wall
        return rows
    }

    private static func shape(_ rest: inout ArraySlice<UInt8>) -> LimitShape? {
        guard let name = text(&rest, atMost: maxName), let per = text(&rest, atMost: maxName),
            let count: LimitCount = number(&rest).flatMap(LimitJournalFormat.value),
            let window: LimitWindow = number(&rest).flatMap(LimitJournalFormat.value),
            let isWide = rest.popFirst(), isWide <= 1, let spans = number(&rest), spans <= LimitShape.maxSpans
        else { return nil }
        var lengths: [Int64] = []
        for _ in 0..<spans {
            guard let length = milliseconds(&rest) else { return nil }
            lengths.append(length)
        }
        return LimitShape(
            name: String(decoding: name, as: UTF8.self), per: String(decoding: per, as: UTF8.self), count: count,
            spans: lengths, window: window, isWide: isWide == 1)
    }

    private static func row(_ rest: inout ArraySlice<UInt8>, _ shapes: [LimitShape]) -> LimitRow? {
        guard let number = number(&rest), let shape = shapes.dropFirst(Int(clamping: number)).first,
            let key = text(&rest, atMost: LimitKey.maxOctets), let last = milliseconds(&rest),
            let blocked = milliseconds(&rest), let byAdmin = rest.popFirst(), byAdmin <= 1,
            let count = Self.number(&rest), count <= shape.words
        else { return nil }
        var words = [UInt32](repeating: 0, count: shape.words)
        var place = 0
        for _ in 0..<count {
            guard let distance = Self.number(&rest), distance < shape.words - place,
                let word = Self.number(&rest).flatMap({ UInt32(exactly: $0) })
            else { return nil }
            place += Int(distance)
            words[place] = word
            place += 1
        }
        return LimitRow(
            shape: shape, key: LimitKey(octets: key), last: last, blockedUntil: blocked, isBlockedByAdmin: byAdmin == 1,
            words: words)
    }

    // MARK: Numbers and texts

    private static func number(_ rest: inout ArraySlice<UInt8>) -> UInt64? { FramedOctets.number(&rest) }

    /// A time that leaves room for sums: the year 36812 at most.
    private static func milliseconds(_ rest: inout ArraySlice<UInt8>) -> Int64? {
        number(&rest).flatMap { $0 < 1 << 50 ? Int64($0) : nil }
    }

    private static func text(_ rest: inout ArraySlice<UInt8>, atMost most: Int) -> [UInt8]? {
        FramedOctets.text(&rest, atMost: most).map { Array($0) }
    }
}
