// Rows of words below one another. What is too long to be held at once is laid out page by page: a column that has
// grown stays as wide.

struct Columns {
    /// Columns that hold numbers, which end below one another.
    private let numbers: Range<Int>
    private var widths: [Int] = []

    init(numbers: Range<Int> = 0..<0) { self.numbers = numbers }

    /// - Returns: a line for each row, without white space at its end; columns that are empty so far are left out.
    mutating func lines(_ rows: [[String]]) -> [String] {
        let count = max(widths.count, rows.map(\.count).max() ?? 0)
        widths = (0..<count).map { column in
            max(
                widths.dropFirst(column).first ?? 0,
                rows.map { $0.dropFirst(column).first?.count ?? 0 }.max() ?? 0)
        }
        return rows.map { row in
            let cells = zip(row, widths).enumerated().filter { $0.element.1 > 0 }.map { column, cell in
                let space = String(repeating: " ", count: cell.1 - cell.0.count)
                return numbers.contains(column) && !cell.0.isEmpty ? space + cell.0 : cell.0 + space
            }
            return String(cells.joined(separator: "  ").reversed().drop { $0 == " " }.reversed())
        }
    }

    /// The lines of all rows.
    static func lines(_ rows: [[String]], numbers: Range<Int> = 0..<0) -> [String] {
        var columns = Columns(numbers: numbers)
        return columns.lines(rows)
    }

    /// The same, each line with its line end.
    static func text(_ rows: [[String]]) -> String { lines(rows).map { $0 + "\n" }.joined() }
}
