// Expressions of the configuration, `/…/`, matched against what strangers send: positions and the sets of positions
// that can follow each (Glushkov 1961), all of them followed at once. Time is linear in the text whatever expression and
// text are, nothing is locked, and short expressions allocate nothing. regexec(3) has none of these: its automaton grows
// with what strangers send and is locked, and it reads `\d` as the letter d. What cannot be matched so is refused:
// back-references, look-around, `\b`. Nothing is captured. Letters match without regard to case, ASCII only.

/// A regular expression, compiled.
public struct TextExpression: Sendable {
    /// As it was written, without the slashes.
    public let text: String
    /// Words of 64 bits in a set of positions.
    private let words: Int
    /// It matches the empty text, so every text.
    private let matchesAlways: Bool
    /// The positions that a match can begin with, and those that it can end with.
    private let first: [UInt64]
    private let last: [UInt64]
    /// For each position the positions that can follow it, one set after another.
    private let follow: [UInt64]
    /// For each symbol its kind; symbols of a kind are taken by the same positions.
    private let kinds: [UInt16]
    /// For each kind the positions that take it, one set after another.
    private let takers: [UInt64]

    /// Compiles an expression.
    ///
    /// It is what Perl, PCRE and POSIX have in common: `.` `[…]` `[^…]` `[[:alpha:]]` `\d \w \s` and their opposites,
    /// `\xHH`, `(…)` `(?:…)` `|` `* + ? {n} {n,} {n,m}`, `^` and `$` at the text's ends; `\` takes the meaning from other
    /// signs. A dot takes one octet, which is not always one character.
    /// - Throws: what is wrong, for the admin.
    public init(_ text: String) throws(ExpressionError) {
        var parser = ExpressionParser(text)
        let tree = try parser.parse()
        var positions = ExpressionPositions()
        let whole = try positions.add(tree)
        self.text = text
        let words = max(1, (positions.takes.count + 63) / 64)
        self.words = words
        matchesAlways = whole.isNullable
        first = Self.set(whole.first, words)
        last = Self.set(whole.last, words)
        follow = positions.follow.flatMap { Self.set($0, words) }
        var known: [[UInt64]: UInt16] = [:]
        var takers: [UInt64] = []
        kinds = (0..<ExpressionSymbol.count).map { symbol in
            let set = Self.set(positions.takes.indices.filter { positions.takes[$0].contains(symbol) }, words)
            if let kind = known[set] { return kind }
            let kind = UInt16(known.count)  // at most one for each of 258 symbols
            known[set] = kind
            takers += set
            return kind
        }
        self.takers = takers
    }

    private static func set(_ positions: some Sequence<Int>, _ words: Int) -> [UInt64] {
        var set = [UInt64](repeating: 0, count: words)
        for position in positions { set[position >> 6] |= 1 << UInt64(position & 63) }
        return set
    }

    /// Whether the expression matches anywhere in the text. At most one step for each octet and position.
    public func matches(_ octets: ArraySlice<UInt8>) -> Bool {
        if matchesAlways { return true }
        return words == 1 ? matchesInOneWord(octets) : matchesInWords(octets)
    }

    private func matchesInOneWord(_ octets: ArraySlice<UInt8>) -> Bool {
        let (first, last) = (first[0], last[0])  // sets have a word at least
        let (follow, takers, kinds) = (follow.span, takers.span, kinds.span)
        var current: UInt64 = 0
        /// - Returns: whether a match has ended.
        func step(_ symbol: Int) -> Bool {
            var next = first
            while current != 0 {
                next |= follow[current.trailingZeroBitCount]
                current &= current &- 1
            }
            current = next & takers[Int(kinds[symbol])]
            return current & last != 0
        }
        if step(ExpressionSymbol.start) { return true }
        for octet in octets where step(Int(octet)) { return true }
        return step(ExpressionSymbol.end)
    }

    private func matchesInWords(_ octets: ArraySlice<UInt8>) -> Bool {
        let (follow, takers, kinds, first, last) = (follow.span, takers.span, kinds.span, first.span, last.span)
        var current = [UInt64](repeating: 0, count: words)
        var next = current
        func step(_ symbol: Int) -> Bool {
            for word in 0..<words { next[word] = first[word] }
            for word in 0..<words {
                var bits = current[word]
                while bits != 0 {
                    let row = (word << 6 + bits.trailingZeroBitCount) * words
                    for column in 0..<words { next[column] |= follow[row + column] }
                    bits &= bits &- 1
                }
            }
            let row = Int(kinds[symbol]) * words
            var ended: UInt64 = 0
            for word in 0..<words {
                current[word] = next[word] & takers[row + word]
                ended |= current[word] & last[word]
            }
            return ended != 0
        }
        if step(ExpressionSymbol.start) { return true }
        for octet in octets where step(Int(octet)) { return true }
        return step(ExpressionSymbol.end)
    }
}

/// Why a text is no expression; says what was expected and what came.
public struct ExpressionError: Error, Hashable, Sendable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }
}

/// What an automaton reads: the octets of a text between its start and its end.
enum ExpressionSymbol {
    static let start = 256
    static let end = 257
    static let count = 258
}

/// A set of symbols.
struct SymbolSet: Hashable, Sendable {
    private var words: [UInt64] = Array(repeating: 0, count: 5)

    init(_ symbols: some Sequence<Int>) { for symbol in symbols { insert(symbol) } }

    mutating func insert(_ symbol: Int) { words[symbol >> 6] |= 1 << UInt64(symbol & 63) }
    mutating func formUnion(_ other: SymbolSet) { for word in words.indices { words[word] |= other.words[word] } }
    func contains(_ symbol: Int) -> Bool { words[symbol >> 6] >> UInt64(symbol & 63) & 1 == 1 }

    /// With both cases of each letter.
    var ignoringCase: SymbolSet {
        var set = self
        for letter in 0x61...0x7A where contains(letter) || contains(letter - 0x20) {
            set.insert(letter)
            set.insert(letter - 0x20)
        }
        return set
    }

    /// All octets but these.
    var otherOctets: SymbolSet { SymbolSet((0..<256).filter { !contains($0) }) }
}

/// The positions of an expression: each takes one symbol.
struct ExpressionPositions {
    /// Most positions, so that a set of them stays small; counted repeats make copies.
    static let maxPositions = 512

    private(set) var takes: [SymbolSet] = []
    private(set) var follow: [Set<Int>] = []

    /// A part of an expression: where matches of it begin and end.
    struct Part {
        var isNullable = true
        var first: [Int] = []
        var last: [Int] = []
    }

    mutating func add(_ tree: ExpressionTree) throws(ExpressionError) -> Part {
        switch tree {
        case .symbols(let symbols):
            guard takes.count < Self.maxPositions else {
                throw ExpressionError("expected an expression of at most \(Self.maxPositions) signs, repeats counted")
            }
            takes.append(symbols)
            follow.append([])
            return Part(isNullable: false, first: [takes.count - 1], last: [takes.count - 1])
        case .sequence(let trees):
            var whole = Part()
            for tree in trees { whole = try join(whole, try add(tree)) }
            return whole
        case .alternatives(let trees):
            var whole = Part(isNullable: false)
            for tree in trees {
                let part = try add(tree)
                whole.isNullable = whole.isNullable || part.isNullable
                whole.first += part.first
                whole.last += part.last
            }
            return whole
        case .repeated(let tree, let least, let most):
            return try copies(of: tree, least, most)
        }
    }

    /// - Parameter most: nil for no end.
    private mutating func copies(
        of tree: ExpressionTree, _ least: Int, _ most: Int?
    ) throws(ExpressionError) -> Part {
        var whole = Part()
        let count = most ?? max(least, 1)
        for number in 0..<count {
            let before = takes.count
            var part = try add(tree)
            if takes.count == before { break }  // nothing in it: copies change nothing
            if most == nil, number == count - 1 {
                for position in part.last { for next in part.first { try link(position, next) } }
            }
            if number >= least { part.isNullable = true }
            whole = try join(whole, part)
        }
        return whole
    }

    private mutating func join(_ left: Part, _ right: Part) throws(ExpressionError) -> Part {
        for position in left.last { for next in right.first { try link(position, next) } }
        return Part(
            isNullable: left.isNullable && right.isNullable,
            first: left.isNullable ? left.first + right.first : left.first,
            last: right.isNullable ? left.last + right.last : right.last)
    }

    private mutating func link(_ position: Int, _ next: Int) throws(ExpressionError) {
        guard !takes[next].contains(ExpressionSymbol.start) else {
            throw ExpressionError("expected ^ only where the text begins, found it after something or repeated")
        }
        guard !takes[position].contains(ExpressionSymbol.end) else {
            throw ExpressionError("expected $ only where the text ends, found it before something or repeated")
        }
        follow[position].insert(next)
    }
}
