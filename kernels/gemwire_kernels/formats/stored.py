"""A matrix as a file holds it."""

from dataclasses import dataclass, field

from gemwire_kernels.formats.weight_format import Bytes, FormatError, Rows, WeightFormat


@dataclass(frozen=True, slots=True)
class Stored:
    """A matrix of `shape` (rows, columns) in a format; `data` is uint8 [rows, bytes of a row].

    Raises FormatError if `data` is of another shape.
    """

    format: WeightFormat
    shape: tuple[int, int]
    data: Bytes = field(repr=False)

    def __post_init__(self) -> None:
        rows, columns = self.shape
        expected = (rows, self.format.row_bytes(columns))
        if self.data.shape != expected:
            raise FormatError(
                f"{rows} rows of {columns} numbers in {self.format.name} are {expected} bytes, "
                f"not {self.data.shape}"
            )

    @classmethod
    def quantized(cls, values: Rows, to: WeightFormat) -> "Stored":
        """Rounds fp32 [rows, columns] to a format."""
        rows, columns = values.shape
        return cls(to, (rows, columns), to.quantize(values))

    def dequantized(self) -> Rows:
        """Returns the fp32 values [rows, columns] that the bytes stand for."""
        return self.format.dequantize(self.data)
