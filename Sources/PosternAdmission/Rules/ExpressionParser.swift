// Reads the text of an expression into a tree: the part of Perl's and POSIX's syntax that both have. What they have
// apart or what cannot be matched in linear time is refused with its reason.

internal import PosternMail

/// An expression as a tree.
indirect enum ExpressionTree: Hashable, Sendable {
    /// One octet of a set, or an end of the text.
    case symbols(SymbolSet)
    case sequence([ExpressionTree])
    case alternatives([ExpressionTree])
    /// - Parameter most: nil for no end.
    case repeated(ExpressionTree, least: Int, most: Int?)
}

struct ExpressionParser {
    /// Longest expression, in octets.
    static let maxOctets = 1024
    /// Most groups in each other.
    static let maxDepth = 32
    /// Highest count of a repeat.
    static let maxRepeats = 255

    private let octets: [UInt8]
    private var rest: ArraySlice<UInt8>

    init(_ text: String) {
        octets = Array(text.utf8)
        rest = octets[...]
    }

    mutating func parse() throws(ExpressionError) -> ExpressionTree {
        guard octets.count <= Self.maxOctets else {
            throw ExpressionError("expected an expression of at most \(Self.maxOctets) octets, found \(octets.count)")
        }
        let tree = try alternatives(depth: 0)
        guard rest.isEmpty else { throw ExpressionError("expected \"(\" before \")\"; write \\) for the sign itself") }
        return tree
    }

    private mutating func alternatives(depth: Int) throws(ExpressionError) -> ExpressionTree {
        guard depth <= Self.maxDepth else {
            throw ExpressionError("expected at most \(Self.maxDepth) groups in each other")
        }
        var trees = [try sequence(depth: depth)]
        while take("|") { trees.append(try sequence(depth: depth)) }
        return trees.count == 1 ? trees[0] : .alternatives(trees)
    }

    private mutating func sequence(depth: Int) throws(ExpressionError) -> ExpressionTree {
        var trees: [ExpressionTree] = []
        while let next = rest.first, next != UInt8(ascii: "|"), next != UInt8(ascii: ")") {
            trees.append(try repeats(of: try atom(depth: depth)))
        }
        return .sequence(trees)
    }

    // MARK: Repeats

    private mutating func repeats(of tree: ExpressionTree) throws(ExpressionError) -> ExpressionTree {
        guard let (least, most) = try count() else { return tree }
        if let sign = rest.first {
            if sign == UInt8(ascii: "?") {
                rest.removeFirst()  // whether few or many are taken first makes no difference to whether it matches
            } else if "*+{".utf8.contains(sign) {
                throw ExpressionError("expected one repeat, found a second; put the first in ( )")
            }
        }
        return .repeated(tree, least: least, most: most)
    }

    private mutating func count() throws(ExpressionError) -> (least: Int, most: Int?)? {
        if take("*") { return (0, nil) }
        if take("+") { return (1, nil) }
        if take("?") { return (0, 1) }
        guard take("{") else { return nil }
        let wrong = ExpressionError("expected {n}, {n,} or {n,m}, with numbers to \(Self.maxRepeats)")
        guard let least = number() else { throw wrong }
        var most: Int? = least
        if take(",") { most = number() }
        guard take("}"), least <= most ?? least, max(least, most ?? 0) <= Self.maxRepeats else { throw wrong }
        return (least, most)
    }

    private mutating func number() -> Int? {
        let digits = rest.prefix { $0.isASCIIDigit }
        guard (1...4).contains(digits.count) else { return nil }
        rest = rest[digits.endIndex...]
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }

    // MARK: Atoms

    private mutating func atom(depth: Int) throws(ExpressionError) -> ExpressionTree {
        guard let sign = rest.popFirst() else { throw ExpressionError("expected a sign, found the end") }
        switch sign {
        case UInt8(ascii: "("): return try group(depth: depth)
        case UInt8(ascii: "["): return .symbols(try bracket())
        case UInt8(ascii: "."): return .symbols(SymbolSet(0..<256))
        case UInt8(ascii: "^"): return .symbols(SymbolSet([ExpressionSymbol.start]))
        case UInt8(ascii: "$"): return .symbols(SymbolSet([ExpressionSymbol.end]))
        case UInt8(ascii: "\\"): return .symbols(try escape().ignoringCase)
        case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "{"):
            let found = Character(Unicode.Scalar(sign))
            throw ExpressionError("expected something that \"\(found)\" repeats; write \\\(found) for the sign itself")
        case 0x80...:  // a character of several octets is repeated as a whole
            let more = rest.prefix { $0 & 0xC0 == 0x80 }
            rest = rest[more.endIndex...]
            return .sequence(([sign] + more).map { .symbols(SymbolSet([Int($0)])) })
        default: return .symbols(SymbolSet([Int(sign)]).ignoringCase)
        }
    }

    private mutating func group(depth: Int) throws(ExpressionError) -> ExpressionTree {
        if take("?"), !take(":") {
            throw ExpressionError("expected (…) or (?:…), found \"(?\": options and look-around are not taken")
        }
        let tree = try alternatives(depth: depth + 1)
        guard take(")") else { throw ExpressionError("expected \")\" for each \"(\"") }
        return tree
    }

    /// What follows a backslash.
    private mutating func escape() throws(ExpressionError) -> SymbolSet {
        guard let sign = rest.popFirst() else { throw ExpressionError("expected a sign after \\") }
        switch sign {
        case UInt8(ascii: "d"): return Self.digits
        case UInt8(ascii: "D"): return Self.digits.otherOctets
        case UInt8(ascii: "w"): return Self.wordSigns
        case UInt8(ascii: "W"): return Self.wordSigns.otherOctets
        case UInt8(ascii: "s"): return Self.spaces
        case UInt8(ascii: "S"): return Self.spaces.otherOctets
        case UInt8(ascii: "t"): return SymbolSet([0x09])
        case UInt8(ascii: "x"):
            guard rest.count >= 2, let octet = Int(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16),
                rest.prefix(2).allSatisfy({ $0.isASCIIDigit || $0.isASCIILetter })
            else { throw ExpressionError("expected two hexadecimal digits after \\x") }
            rest = rest.dropFirst(2)
            return SymbolSet([octet])
        case UInt8(ascii: "1")...UInt8(ascii: "9"):
            throw ExpressionError("expected no back-references, found \\\(Character(Unicode.Scalar(sign)))")
        case let sign where sign.isASCIIDigit || sign.isASCIILetter:
            let found = Character(Unicode.Scalar(sign))
            throw ExpressionError("expected \\d, \\w, \\s, \\t, \\xHH or \\ before a sign, found \\\(found)")
        case 0x80...: throw ExpressionError("expected \\ before ASCII, found another character")
        default: return SymbolSet([Int(sign)])
        }
    }

    // MARK: Brackets

    private mutating func bracket() throws(ExpressionError) -> SymbolSet {
        let isNegated = take("^")
        var set = SymbolSet([])
        var isFirst = true
        while let sign = rest.popFirst() {
            if sign == UInt8(ascii: "]"), !isFirst {
                set = set.ignoringCase
                return isNegated ? set.otherOctets : set
            }
            isFirst = false
            guard sign < 0x80 else { throw ExpressionError("expected ASCII within [ ], found another character") }
            if sign == UInt8(ascii: "["), rest.first == UInt8(ascii: ":") {
                set.formUnion(try namedClass())
            } else if sign == UInt8(ascii: "\\"), let next = rest.first, "dDwWsS".utf8.contains(next) {
                set.formUnion(try escape())
            } else {
                let low = try single(sign)
                set.formUnion(SymbolSet(low...(try rangeEnd(from: low))))
            }
        }
        throw ExpressionError("expected \"]\" for each \"[\"")
    }

    /// The last octet of a range that begins with `low`; `low` itself where none follows.
    private mutating func rangeEnd(from low: Int) throws(ExpressionError) -> Int {
        guard rest.first == UInt8(ascii: "-"), let after = rest.dropFirst().first, after != UInt8(ascii: "]") else {
            return low
        }
        rest = rest.dropFirst(2)
        let high = try single(after)
        guard high >= low else { throw ExpressionError("expected a range that does not end before it begins") }
        return high
    }

    private mutating func single(_ sign: UInt8) throws(ExpressionError) -> Int {
        guard sign == UInt8(ascii: "\\") else {
            guard sign < 0x80 else { throw ExpressionError("expected ASCII within [ ], found another character") }
            return Int(sign)
        }
        guard let next = rest.first, !"dDwWsS".utf8.contains(next) else {
            throw ExpressionError("expected one sign at each end of a range")
        }
        let set = try escape()
        guard let octet = (0..<256).first(where: set.contains) else {
            throw ExpressionError("expected a sign after \\")
        }
        return octet
    }

    private mutating func namedClass() throws(ExpressionError) -> SymbolSet {
        let name = rest.dropFirst().prefix { $0.isASCIILetter }
        rest = rest[name.endIndex...]
        guard take(":"), take("]"), let set = Self.classes[String(decoding: name, as: UTF8.self)] else {
            let names = Self.classes.keys.sorted().joined(separator: ", ")
            throw ExpressionError("expected [:NAME:] with one of \(names)")
        }
        return set
    }

    private mutating func take(_ sign: Unicode.Scalar) -> Bool {
        guard rest.first == UInt8(ascii: sign) else { return false }
        rest.removeFirst()
        return true
    }

    private static let digits = SymbolSet(0x30...0x39)
    private static let letters = SymbolSet((0x41...0x5A)).ignoringCase
    private static let wordSigns = SymbolSet([0x5F] + (0..<0x80).filter { digits.contains($0) || letters.contains($0) })
    private static let spaces = SymbolSet([0x20, 0x09, 0x0A, 0x0B, 0x0C, 0x0D])
    /// Source: POSIX, "Base Definitions" §9.3.5, the C locale. Case is ignored, in these too.
    private static let classes: [String: SymbolSet] = [
        "alpha": letters, "upper": letters, "lower": letters, "digit": digits,
        "alnum": SymbolSet((0..<0x80).filter { digits.contains($0) || letters.contains($0) }),
        "xdigit": SymbolSet(Array(0x30...0x39) + Array(0x41...0x46)).ignoringCase,
        "space": spaces, "blank": SymbolSet([0x20, 0x09]), "cntrl": SymbolSet(Array(0..<0x20) + [0x7F]),
        "print": SymbolSet(0x20..<0x7F), "graph": SymbolSet(0x21..<0x7F),
        "punct": SymbolSet((0x21..<0x7F).filter { !digits.contains($0) && !letters.contains($0) }),
    ]
}
