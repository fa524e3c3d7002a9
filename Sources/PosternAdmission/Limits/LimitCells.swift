// One key's counts as a value, apart from any ledger: for what moves between ledgers. The arithmetic is LimitSlab's: a
// ring of 13 cells for each span, or a window's start and count.

/// The counts of one key, and when it last counted.
public struct LimitCells: Hashable, Sendable {
    public let shape: LimitShape
    /// In milliseconds. The newest cell of each ring is the one of that time.
    public private(set) var last: Int64
    /// For each span 13 counts, or the start of a window in seconds and its count.
    public private(set) var counts: [Int]

    /// What two ledgers know of the same key.
    public enum Meeting: Sendable {
        /// Each counted something of its own.
        case sum
        /// One is a copy of the other: done twice it is as done once.
        case most
    }

    /// No counts.
    public init(_ shape: LimitShape) {
        self.shape = shape
        last = 0
        counts = Array(repeating: 0, count: Self.count(of: shape))
    }

    /// - Returns: nil where these are not as many counts as the shape has, or not all of them can be.
    public init?(_ shape: LimitShape, last: Int64, counts: [Int]) {
        guard counts.count == Self.count(of: shape), counts.allSatisfy({ $0 >= 0 }), last >= 0, last < 1 << 50 else {
            return nil
        }
        self.shape = shape
        self.last = last
        self.counts = counts
    }

    /// How many counts a key has.
    public static func count(of shape: LimitShape) -> Int { shape.spans.count * width(shape) }

    private static func width(_ shape: LimitShape) -> Int { shape.window == .fixed ? 2 : LimitSlab.cells }
    private static let cells = Int64(LimitSlab.cells)

    public var isEmpty: Bool { counts.allSatisfy { $0 == 0 } }

    private func slot(_ span: Int) -> Int64 { LimitSlab.cell(of: shape.spans[span]) }

    // MARK: Counting

    public func used(_ span: Int, at time: Int64) -> Int {
        let base = span * Self.width(shape)
        if shape.window == .fixed { return hasWindow(Int64(counts[base]), span, at: time) ? counts[base + 1] : 0 }
        let newest = last / slot(span)
        let oldest = max(time / slot(span), newest) - Self.cells + 1
        guard oldest <= newest else { return 0 }
        return (max(0, oldest)...newest).reduce(0) { $0.clamped(adding: counts[base + Int($1 % Self.cells)]) }
    }

    private func hasWindow(_ start: Int64, _ span: Int, at time: Int64) -> Bool {
        start <= time / 1000 && time / 1000 - start <= shape.spans[span] / 1000
    }

    public mutating func add(_ amount: Int, at time: Int64) {
        let time = max(time, last)
        for span in shape.spans.indices {
            let base = span * Self.width(shape)
            var place = base + 1
            if shape.window == .fixed {
                if !hasWindow(Int64(counts[base]), span, at: time) {
                    counts[base] = Int(time / 1000)
                    counts[place] = 0
                }
            } else {
                turn(base, from: last / slot(span), to: time / slot(span))
                place = base + Int(time / slot(span) % Self.cells)
            }
            counts[place] = counts[place].clamped(adding: amount)
        }
        last = time
    }

    private mutating func turn(_ base: Int, from old: Int64, to new: Int64) {
        let steps = min(new - old, Self.cells)
        guard steps > 0 else { return }
        for step in 1...steps { counts[base + Int((old + step) % Self.cells)] = 0 }
    }

    // MARK: Moving

    /// Takes in what another ledger counted for the key: cell by cell, as far as they still count.
    public mutating func meet(_ other: LimitCells, _ meeting: Meeting) {
        guard other.shape == shape else { return }
        let newest = max(last, other.last)
        func met(_ own: Int, _ others: Int) -> Int { meeting == .sum ? own.clamped(adding: others) : max(own, others) }
        for span in shape.spans.indices {
            let base = span * Self.width(shape)
            if shape.window == .fixed {
                guard hasWindow(Int64(other.counts[base]), span, at: newest) else { continue }
                if hasWindow(Int64(counts[base]), span, at: newest) {
                    counts[base + 1] = met(counts[base + 1], other.counts[base + 1])
                } else {
                    counts[base] = other.counts[base]
                    counts[base + 1] = other.counts[base + 1]
                }
                continue
            }
            turn(base, from: last / slot(span), to: newest / slot(span))
            let end = other.last / slot(span)
            let first = max(0, newest / slot(span) - Self.cells + 1, end - Self.cells + 1)
            guard first <= end else { continue }
            for cell in first...end {
                let place = base + Int(cell % Self.cells)
                counts[place] = met(counts[place], other.counts[place])
            }
        }
        last = newest
    }

    /// The same by a clock that shows something else: what counts still counts for as long, or for a cell more.
    public func shifted(by milliseconds: Int64) -> LimitCells {
        guard milliseconds != 0 else { return self }
        var moved = LimitCells(shape)
        moved.last = max(0, last + milliseconds)
        for span in shape.spans.indices {
            let base = span * Self.width(shape)
            if shape.window == .fixed {
                let seconds = (milliseconds + (milliseconds > 0 ? 999 : 0)) / 1000  // rounded up, both ways
                moved.counts[base] = max(0, min(counts[base].clamped(adding: Int(seconds)), Int(moved.last / 1000)))
                moved.counts[base + 1] = counts[base + 1]
                continue
            }
            let (from, to) = (last / slot(span), moved.last / slot(span))
            // What was one cell lies in two of the other clock's: the later one keeps it for long enough.
            let later: Int64 = moved.last % slot(span) > last % slot(span) ? 1 : 0
            for step in 0..<Self.cells {
                let place = base + Int((to + Self.cells - max(0, step - later)) % Self.cells)
                let old = counts[base + Int((from + Self.cells - step) % Self.cells)]
                moved.counts[place] = moved.counts[place].clamped(adding: old)
            }
        }
        return moved
    }
}

// MARK: Words of a record

extension LimitCells {
    /// - Returns: nil for a row that has not as many words as its shape.
    public init?(_ row: LimitRow) {
        guard row.words.count == row.shape.words else { return nil }
        var words = row.words[...]
        func next(_ isWide: Bool) -> Int {
            let low = UInt64(words.popFirst() ?? 0)  // as many as there are, see above
            return Int(clamping: isWide ? low | UInt64(words.popFirst() ?? 0) << 32 : low)
        }
        var counts: [Int] = []
        counts.reserveCapacity(Self.count(of: row.shape))
        for _ in row.shape.spans {
            if row.shape.window == .fixed { counts.append(next(true)) }
            for _ in 0..<(row.shape.window == .fixed ? 1 : LimitSlab.cells) { counts.append(next(row.shape.isWide)) }
        }
        self.init(row.shape, last: row.last, counts: counts)
    }

    /// As a record has them.
    public var words: [UInt32] {
        var words: [UInt32] = []
        words.reserveCapacity(shape.words)
        let width = Self.width(shape)
        for (place, count) in counts.enumerated() {
            if shape.isWide || (shape.window == .fixed && place % width == 0) {
                words.append(UInt32(truncatingIfNeeded: count))
                words.append(UInt32(truncatingIfNeeded: count >> 32))
            } else {
                words.append(UInt32(clamping: count))
            }
        }
        return words
    }
}
