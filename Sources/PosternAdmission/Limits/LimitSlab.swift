// The counts of one limit's keys: records in chunks, so that growing moves nothing, and an index over them. A record has
// for each span a ring of 13 cells of a twelfth of the span each; or, as anvil does, the start of a window and one count.
//
// Why 13: an interval of the span's length that ends in the newest cell reaches back into the cell 12 before it, and no
// further. So while all 13 together hold no more than is allowed, no interval does: strict by at most a cell.

internal import PosternMail

/// One key's state beside the key and its cells: 48 octets.
struct LimitRecord {
    fileprivate var keyOctets: UInt16
    /// When it last counted, in milliseconds of the ledger's time. The newest cell of each ring is the one of that time.
    var last: Int64
    var reserved: Int64 = 0
    var blockedUntil: Int64 = 0
    /// No event of its kind until then.
    var warnedUntil: Int64 = 0
    var toldUntil: Int64 = 0
    /// Of the network that it came from.
    var bucket: UInt16
    var isLive = true
    var isBlockedByAdmin = false
    /// Not in the journal yet.
    var isDirty = false
    /// Addresses are kept for it.
    var hasClients = false

    fileprivate init(keyOctets: Int, bucket: UInt16, time: Int64) {
        self.keyOctets = UInt16(clamping: keyOctets)
        self.bucket = bucket
        last = time
    }
}

final class LimitSlab {
    static let cells = 13
    private static let chunkBits = 10
    private static let chunk = 1 << chunkBits

    let shape: LimitShape
    /// What its spans allow now; empty when no configuration has named it since the start.
    var amounts: [Int] = []
    private let slots: [Int64]
    /// Words of one span's cells, and of a record's.
    private let width: Int
    private let spanWords: Int
    private let stride: Int
    private let isFixed: Bool

    private var records: [[LimitRecord]] = []
    private var words: [[UInt32]] = []
    /// Keys, each at its record's place; those that are longer have an array of their own.
    private var keys: [[UInt8]] = []
    private var longKeys: [Int: [UInt8]] = [:]
    private static let shortOctets = 40
    private var index = LimitIndex()
    /// Records that were used once.
    private(set) var end = 0
    private var free: [UInt32] = []
    private(set) var dirty: [UInt32] = []

    init(_ shape: LimitShape) {
        self.shape = shape
        isFixed = shape.window == .fixed
        width = shape.isWide ? 2 : 1
        slots = shape.spans.map(Self.cell)
        spanWords = isFixed ? 2 + width : Self.cells * width
        stride = spanWords * shape.spans.count
    }

    /// The length of a cell: a twelfth of its span, rounded up, so that 12 cells are never shorter than the span.
    static func cell(of span: Int64) -> Int64 { (span + 11) / 12 }

    var count: Int { end - free.count }

    subscript(_ number: Int) -> LimitRecord {
        get { records[number >> Self.chunkBits][number & (Self.chunk - 1)] }
        set { records[number >> Self.chunkBits][number & (Self.chunk - 1)] = newValue }
    }

    // MARK: Keys

    func find(_ key: [UInt8]) -> Int? {
        index.find(LimitIndex.hash(key)) { isKey($0, key) }
    }

    func key(_ number: Int) -> [UInt8] {
        let count = Int(self[number].keyOctets)
        guard count <= Self.shortOctets else { return longKeys[number] ?? [] }
        let base = (number & (Self.chunk - 1)) * Self.shortOctets
        return Array(keys[number >> Self.chunkBits][base..<(base + count)])
    }

    private func isKey(_ number: Int, _ key: [UInt8]) -> Bool {
        guard self[number].keyOctets == key.count else { return false }
        guard key.count <= Self.shortOctets else { return longKeys[number] == key }
        let base = (number & (Self.chunk - 1)) * Self.shortOctets
        return keys[number >> Self.chunkBits][base..<(base + key.count)].elementsEqual(key)
    }

    /// - Parameter key: is not there; `LimitKey.maxOctets` at most count.
    func insert(_ key: [UInt8], bucket: UInt16, time: Int64) -> Int {
        let record = LimitRecord(keyOctets: key.count, bucket: bucket, time: time)
        let number: Int
        if let last = free.popLast() {
            number = Int(last)
            self[number] = record
        } else {
            number = end
            end += 1
            if number & (Self.chunk - 1) == 0 {
                var chunk: [LimitRecord] = []
                chunk.reserveCapacity(Self.chunk)
                records.append(chunk)
                words.append(Array(repeating: 0, count: Self.chunk * stride))
                keys.append(Array(repeating: 0, count: Self.chunk * Self.shortOctets))
            }
            records[number >> Self.chunkBits].append(record)
        }
        if key.count <= Self.shortOctets {
            let base = (number & (Self.chunk - 1)) * Self.shortOctets
            keys[number >> Self.chunkBits].replaceSubrange(base..<(base + key.count), with: key)
        } else {
            longKeys[number] = key
        }
        index.insert(LimitIndex.hash(key), number)
        return number
    }

    func remove(_ number: Int) {
        index.remove(LimitIndex.hash(key(number)), number)
        longKeys[number] = nil
        self[number].isLive = false
        self[number].isDirty = false
        self[number].keyOctets = 0
        empty(number)
        free.append(UInt32(number))
    }

    func markDirty(_ number: Int) {
        guard !self[number].isDirty else { return }
        self[number].isDirty = true
        dirty.append(UInt32(number))
    }

    /// Up to so many records that changed; they count as written.
    func takeDirty(atMost limit: Int) -> [Int] {
        var taken: [Int] = []
        while taken.count < limit, let last = dirty.popLast() {
            let number = Int(last)
            guard self[number].isLive, self[number].isDirty else { continue }
            self[number].isDirty = false
            taken.append(number)
        }
        return taken
    }

    // MARK: Cells

    /// What is counted at a time that is not before the last count.
    func used(_ number: Int, _ span: Int, at time: Int64) -> Int {
        let base = (number & (Self.chunk - 1)) * stride + span * spanWords
        if isFixed { return hasWindow(number, base, span, at: time) ? count(number, base + 2) : 0 }
        var sum = 0
        let newest = self[number].last / slots[span]
        let oldest = max(time / slots[span], newest) - Int64(Self.cells) + 1
        guard oldest <= newest else { return 0 }
        // The ring from its oldest cell that counts still, without a division for each.
        var cell = Int((newest + 1) % Int64(Self.cells)) + Int(oldest - (newest - Int64(Self.cells) + 1))
        for _ in oldest...newest {
            if cell >= Self.cells { cell -= Self.cells }
            sum = sum.clamped(adding: count(number, base + cell * width))
            cell += 1
        }
        return sum
    }

    /// Counts in all spans.
    func add(_ amount: Int, to number: Int, at time: Int64) {
        let last = self[number].last
        let time = max(time, last)
        self[number].last = time
        for span in slots.indices {
            let base = (number & (Self.chunk - 1)) * stride + span * spanWords
            var place = base + 2
            if isFixed {
                if !hasWindow(number, base, span, at: time) {
                    setStart(time / 1000, number, base)
                    put(0, number, place)
                }
            } else {
                turn(number, base, from: last / slots[span], to: time / slots[span])
                place = base + Int(time / slots[span] % Int64(Self.cells)) * width
            }
            put(count(number, place).clamped(adding: amount), number, place)
        }
    }

    /// Clears the cells of a ring that have come round.
    private func turn(_ number: Int, _ base: Int, from old: Int64, to new: Int64) {
        let steps = min(new - old, Int64(Self.cells))
        guard steps > 0 else { return }
        for step in 1...steps { put(0, number, base + Int((old + step) % Int64(Self.cells)) * width) }
    }

    /// Forgets all counts.
    func empty(_ number: Int) {
        let base = (number & (Self.chunk - 1)) * stride
        for word in base..<(base + stride) { words[number >> Self.chunkBits][word] = 0 }
    }

    func isEmpty(_ number: Int, at time: Int64) -> Bool { slots.indices.allSatisfy { used(number, $0, at: time) == 0 } }

    /// Nothing more goes, in one of its spans.
    func isUsedUp(_ number: Int, at time: Int64) -> Bool {
        amounts.indices.contains {
            used(number, $0, at: time).clamped(adding: Int(self[number].reserved)) >= amounts[$0]
        }
    }

    /// How long until `needed` of what is counted has gone by, in milliseconds; nil if so much is not counted. To the
    /// millisecond, so it may be a cell more than the span: what was counted at a cell's beginning goes with the cell.
    func wait(for needed: Int, _ number: Int, _ span: Int, at time: Int64) -> Int64? {
        let base = (number & (Self.chunk - 1)) * stride + span * spanWords
        if isFixed {
            // anvil(8) lets a window go when it is older than its length in whole seconds.
            guard used(number, span, at: time) >= needed else { return nil }
            return max(0, (start(number, base) + shape.spans[span] / 1000 + 1) * 1000 - time)
        }
        var gone = 0
        let newest = self[number].last / slots[span]
        let oldest = max(time / slots[span], newest) - Int64(Self.cells) + 1
        guard oldest <= newest else { return nil }
        for cell in max(0, oldest)...newest {
            gone = gone.clamped(adding: count(number, base + Int(cell % Int64(Self.cells)) * width))
            if gone >= needed { return (cell + Int64(Self.cells)) * slots[span] - time }
        }
        return nil
    }

    // MARK: For the journal

    /// The words of all cells.
    func contents(_ number: Int) -> [UInt32] {
        let base = (number & (Self.chunk - 1)) * stride
        return Array(words[number >> Self.chunkBits][base..<(base + stride)])
    }

    /// - Returns: false if these are not as many words as its cells have.
    func setContents(_ contents: [UInt32], _ number: Int) -> Bool {
        guard contents.count == stride else { return false }
        let base = (number & (Self.chunk - 1)) * stride
        for (offset, word) in contents.enumerated() { words[number >> Self.chunkBits][base + offset] = word }
        return true
    }

    // MARK: Words

    private func count(_ number: Int, _ place: Int) -> Int {
        let chunk = number >> Self.chunkBits
        let low = UInt64(words[chunk][place])
        return Int(clamping: width == 1 ? low : low | UInt64(words[chunk][place + 1]) << 32)
    }

    /// More than there is room for is as good as the most: every such amount is over.
    private func put(_ count: Int, _ number: Int, _ place: Int) {
        let chunk = number >> Self.chunkBits
        guard width == 2 else {
            words[chunk][place] = UInt32(clamping: count)
            return
        }
        words[chunk][place] = UInt32(truncatingIfNeeded: count)
        words[chunk][place + 1] = UInt32(truncatingIfNeeded: count >> 32)
    }

    /// In whole seconds, as anvil counts them.
    private func start(_ number: Int, _ base: Int) -> Int64 {
        let chunk = number >> Self.chunkBits
        return Int64(bitPattern: UInt64(words[chunk][base]) | UInt64(words[chunk][base + 1]) << 32)
    }

    private func setStart(_ seconds: Int64, _ number: Int, _ base: Int) {
        words[number >> Self.chunkBits][base] = UInt32(truncatingIfNeeded: seconds)
        words[number >> Self.chunkBits][base + 1] = UInt32(truncatingIfNeeded: seconds >> 32)
    }

    /// Whether the window that was begun goes on. Source: anvil(8), which begins another only when its start is more
    /// than the time unit ago, in whole seconds.
    private func hasWindow(_ number: Int, _ base: Int, _ span: Int, at time: Int64) -> Bool {
        let start = start(number, base)
        return start <= time / 1000 && time / 1000 - start <= shape.spans[span] / 1000
    }
}

/// Finds records by their key's hash: open addressing, 8 octets a place.
struct LimitIndex {
    /// The hash above, the record's number counted from 1 below; 0 for none.
    private var places: [UInt64] = Array(repeating: 0, count: 16)
    private var count = 0

    /// With this process's random key: nobody can choose keys that hash alike.
    static func hash(_ key: [UInt8]) -> UInt32 {
        var hasher = Hasher()
        key.withUnsafeBytes { hasher.combine(bytes: $0) }
        return UInt32(truncatingIfNeeded: hasher.finalize())
    }

    func find(_ hash: UInt32, _ isKey: (Int) -> Bool) -> Int? {
        var place = Int(hash) & (places.count - 1)
        while places[place] != 0 {
            if UInt32(places[place] >> 32) == hash {
                let number = Int(places[place] & 0xFFFF_FFFF) - 1
                if isKey(number) { return number }
            }
            place = (place + 1) & (places.count - 1)
        }
        return nil
    }

    mutating func insert(_ hash: UInt32, _ number: Int) {
        if (count + 1) * 4 > places.count * 3 {
            let old = places
            places = Array(repeating: 0, count: old.count * 2)
            for entry in old where entry != 0 { put(entry) }
        }
        put(UInt64(hash) << 32 | UInt64(number + 1))
        count += 1
    }

    mutating func remove(_ hash: UInt32, _ number: Int) {
        let entry = UInt64(hash) << 32 | UInt64(number + 1)
        let mask = places.count - 1
        var hole = Int(hash) & mask
        while places[hole] != entry {
            guard places[hole] != 0 else { return }
            hole = (hole + 1) & mask
        }
        // What was pushed past the hole moves up, so that no look-up stops short. Source: Knuth, TAOCP 3, §6.4 R.
        var place = hole
        while true {
            place = (place + 1) & mask
            guard places[place] != 0 else { break }
            let home = Int(places[place] >> 32) & mask
            if (place - home) & mask >= (place - hole) & mask {
                places[hole] = places[place]
                hole = place
            }
        }
        places[hole] = 0
        count -= 1
    }

    private mutating func put(_ entry: UInt64) {
        var place = Int(entry >> 32) & (places.count - 1)
        while places[place] != 0 { place = (place + 1) & (places.count - 1) }
        places[place] = entry
    }
}
